import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import type { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import {
  type LinkTestRequest,
  type MigrationInfo,
  type MigrationRequest,
  type NodeInfo,
  type ReadinessReport,
  type ResolveRequest,
} from '../shared/api.js';
import { type AgentConfig, isLoopback } from '../shared/config.js';
import type { DoctorReport, PeerReports } from '../shared/api/doctor.js';
import { MigrationError } from '../shared/errors.js';
import { LEASE_GRACE_MS } from '../shared/lock-limits.js';
import type { GuestDefinition } from '../shared/guest-definition.js';
import { PROTOCOL_VERSIONS } from '../shared/protocol/messages.js';
import { systemTimers } from '../shared/timers.js';
import { VERSION } from '../shared/version.js';
import { Connections } from './admission/connections.js';
import { checkAccess } from './api/api-access.js';
import { createHttpServer } from './api/http-server.js';
import { API_LIMITS } from './api/limits.js';
import type { AgentService } from './api/service.js';
import { UnixListener } from './api/unix-listener.js';
import { ClusterView } from './cluster/cluster-view.js';
import { doctorNode, LOCK_DISABLED, WITHOUT_TLS } from './doctor/node-doctor.js';
import { PeerChecks } from './doctor/peer-checks.js';
import { DrainState } from './drain-state.js';
import { DefinitionFiles } from './guest/definition-files.js';
import { guestKinds } from './guest/guest-kinds.js';
import { GuestStore, type NodeAddress } from './guest/guest-store.js';
import type { GuestKinds } from './guest/hosted-guest.js';
import { OwnershipJournal } from './journal/ownership-journal.js';
import { lockStateDirectory, type StateDirectoryLock } from './journal/state-directory.js';
import { TCP_PAGES_FEATURE } from './link/link-paths.js';
import { LinkServer } from './link/link-server.js';
import { certifiedPeer } from './link/peer-identity.js';
import { SendingThreads } from './link/sending-threads.js';
import { reportTlsFailures } from './link/tls-failures.js';
import { NodeLock } from './lock/node-lock.js';
import { AgentMetrics } from './metrics/agent-metrics.js';
import { NodeCredentials } from './node-credentials.js';
import { processFigures } from './process-figures.js';
import { Readiness } from './readiness.js';
import { Farewells } from './source/farewells.js';
import { holdOpenQuestions, OpenQuestions } from './source/open-questions.js';
import { reportOutcome, type ResolveContext, resolveOutcome } from './source/resolve-outcome.js';
import { MigrationHistory } from './source/migration-history.js';
import { MigrationRequests } from './source/migration-requests.js';
import type { OutgoingContext } from './source/outgoing-migration.js';
import { OutgoingMigrations } from './source/outgoing-migrations.js';
import { PageOffers } from './source/page-offers.js';
import { PeerDialer } from './source/peer-dialer.js';
import { MAX_AUTO_STREAMS } from './source/stream-choice.js';
import { WaitingRequests } from './source/waiting-requests.js';
import { makePrivateDirectory } from './system/private-directory.js';
import { IncomingMigrations } from './target/incoming-migrations.js';
import { LaneThreads } from './target/lane-threads.js';

/** Threads for page streams, of each of both directions: the agent's own thread has the first stream. */
const KEPT_THREADS = Math.min(MAX_AUTO_STREAMS, availableParallelism()) - 1;

/** What is read from the state directory before the agent serves. */
interface AgentParts {
  readonly guests: GuestStore;
  readonly journal: OwnershipJournal;
  readonly history: MigrationHistory;
  readonly waiting: WaitingRequests;
  readonly drain: DrainState;
  readonly stateLock: StateDirectoryLock;
  readonly credentials: NodeCredentials;
}

/** One node's agent: everything wired together. */
export class Agent implements AgentService {
  readonly #config: AgentConfig;
  readonly #logger: Logger;
  /** The host's clock. Unix ms */
  readonly #now: () => number;
  readonly #stateLock: StateDirectoryLock;
  readonly #guests: GuestStore;
  readonly #journal: OwnershipJournal;
  readonly #metrics = new AgentMetrics();
  readonly #readiness: Readiness;
  readonly #lock: NodeLock;
  readonly #dialer: PeerDialer;
  readonly #offers = new PageOffers();
  readonly #laneThreads = new LaneThreads(KEPT_THREADS);
  readonly #sendingThreads = new SendingThreads(KEPT_THREADS);
  readonly #resolveContext: ResolveContext;
  readonly #incoming: IncomingMigrations;
  readonly #history: MigrationHistory;
  readonly #credentials: NodeCredentials;
  readonly #connections = new Connections(API_LIMITS);
  readonly #server: FastifyInstance;
  #unix: UnixListener | null = null;
  readonly #link: LinkServer;
  readonly #outgoing: OutgoingMigrations;
  readonly #requests: MigrationRequests;
  readonly #cluster: ClusterView;
  readonly #peerChecks: PeerChecks;
  readonly #drain: DrainState;
  /** Ends what is asked of other nodes beside migrations. */
  readonly #endQuestions = new AbortController();
  #closing: Promise<void> | null = null;

  /** Opens the state directory, reads what is there, and serves. */
  static async start(
    config: AgentConfig,
    logger: Logger,
    kinds?: GuestKinds,
    now: () => number = Date.now,
  ): Promise<Agent> {
    const credentials = new NodeCredentials(config);
    const stateLock = await lockStateDirectory(config.stateDirectory);
    try {
      if (config.runDirectory) await makePrivateDirectory(config.runDirectory, 'run directory');
      const journal = await OwnershipJournal.open(journalDirectory(config));
      const drain = await DrainState.open(config.node, config.stateDirectory, logger);
      const guests = await GuestStore.open({
        node: config.node,
        refuseArrivals: () => drain.refuseArrivals(),
        kinds: kinds ?? guestKinds(config, logger),
        journal,
        files: new DefinitionFiles(join(config.stateDirectory, 'guests')),
        memoryLimitBytes: config.guestMemory,
        logger,
      });
      const history = await MigrationHistory.open(join(config.stateDirectory, 'history.jsonl'), logger);
      const waiting = new WaitingRequests(join(config.stateDirectory, 'waiting'), logger);
      const parts = { guests, journal, history, waiting, drain, stateLock, credentials };
      const agent = new Agent(config, logger, parts, now);
      holdOpenQuestions(journal, guests);
      // Before anybody can be faster: they were asked for first.
      await agent.#requests.restore();
      await agent.#listen();
      agent.#resolveContext.questions.start();
      agent.#resolveContext.farewells.start();
      return agent;
    } catch (error) {
      await stateLock.release();
      throw error;
    }
  }

  private constructor(
    config: AgentConfig,
    logger: Logger,
    { guests, journal, history, waiting, drain, stateLock, credentials }: AgentParts,
    now: () => number,
  ) {
    const { node } = config;
    const { overtakeLimit, grace, disabledForBenchmark } = config.lock;
    const { heartbeat: intervalMs, silence: timeoutMs } = config.link;
    const name = `vmferry ${VERSION}`;
    const heartbeat = {
      ...(intervalMs !== undefined && { intervalMs }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
    this.#config = config;
    this.#now = now;
    this.#logger = logger;
    this.#guests = guests;
    this.#journal = journal;
    this.#stateLock = stateLock;
    this.#credentials = credentials;
    this.#history = history;
    this.#drain = drain;
    const peers = () => Object.entries(config.peers).map(([name, url]) => ({ node: name, url }));
    this.#cluster = new ClusterView({
      node,
      url: () => this.url,
      own: () => ({ status: this.status(), queue: this.queue() }),
      peers,
      tls: () => credentials.tls,
      signal: this.#endQuestions.signal,
    });
    this.#readiness = new Readiness({
      journal: journalDirectory(config),
      stateDirectory: config.stateDirectory,
      closing: () => this.#closing !== null,
      drained: () => drain.drained,
      logger,
    });
    this.#lock = new NodeLock({
      node,
      logger,
      ...(overtakeLimit !== undefined && { overtakeLimit }),
      ...(grace !== undefined && { graceMs: grace }),
      exclusive: disabledForBenchmark !== true,
    });
    if (disabledForBenchmark === true) logger.warn(LOCK_DISABLED.message);
    if (config.insecurePlaintext) logger.warn(WITHOUT_TLS.message);
    const features = config.link.pages === 'auto' ? [TCP_PAGES_FEATURE] : [];
    this.#dialer = new PeerDialer({ node, agent: name, heartbeat, features, tls: () => credentials.tls });
    // Each question has one, and many are asked at once.
    setMaxListeners(0, this.#endQuestions.signal);
    this.#peerChecks = new PeerChecks({
      ...{ node, peers, dialer: this.#dialer, tls: () => credentials.tls },
      signal: this.#endQuestions.signal,
    });
    const settling = {
      ...{ node, guests, journal, logger, dialer: this.#dialer, timers: systemTimers },
      signal: this.#endQuestions.signal,
      address: (name: string) => this.#address(name),
    };
    const farewells = new Farewells(settling);
    const questions = new OpenQuestions({ ...settling, farewells });
    this.#resolveContext = { ...settling, farewells, questions };
    const migrations: OutgoingContext = {
      ...{ questions, farewells, history, waiting },
      node,
      guests,
      lock: this.#lock,
      lockGraceMs: grace ?? LEASE_GRACE_MS,
      journal,
      dialer: this.#dialer,
      offers: this.#offers,
      sendingThreads: this.#sendingThreads,
      observer: this.#metrics.migrations,
      logger,
    };
    this.#outgoing = new OutgoingMigrations(migrations);
    this.#requests = new MigrationRequests({
      ...{ config, migrations, outgoing: this.#outgoing },
      address: settling.address,
      signal: settling.signal,
    });
    this.#incoming = new IncomingMigrations({
      node,
      guests,
      lock: this.#lock,
      journal,
      logger,
      scratchMemory: (request) => this.#requests.scratchMemory(request),
      onEnded: (error) => this.#metrics.migrations.incomingEnded(error),
      streamsFrom: (peer) => ({
        url: config.peers[peer],
        threads: this.#laneThreads,
        tls: credentials.tls,
      }),
    });
    const { tcp } = config.listen;
    const exposed = tcp !== null && !isLoopback(tcp.host);
    this.#server = createHttpServer({
      service: this,
      logger,
      connections: this.#connections,
      tls: credentials.serverOptions(),
      checkAccess: (request) => {
        const peers = new Set(Object.keys(config.peers));
        return checkAccess(request, { tokens: credentials.tokens, exposed, peers });
      },
    });
    reportTlsFailures(this.#server.server, (error, remote, count) =>
      logger.warn({ remote, count, error: error.toJSON() }, 'connection refused'),
    );
    this.#link = new LinkServer({
      server: this.#server.server,
      passOn: (socket) => this.#connections.passOn(socket),
      node,
      agent: name,
      heartbeat,
      ...(config.tls && {
        certifiedPeer: (socket) => certifiedPeer(socket, new Set(Object.keys(config.peers))),
      }),
      onControl: (control, handshake) => this.#incoming.accept(control, handshake),
      features,
      authorizePages: (id, stream, token, peer) => this.#incoming.authorizePages(id, stream, token, peer),
      authorizePageStream: (id, stream, token, peer) => this.#offers.authorize(id, stream, token, peer),
      onRefused: (error, remote) => logger.warn({ remote, error: error.toJSON() }, 'connection refused'),
    });
  }

  /** Where the agent serves, with the port that it got: that of the unix socket where there is no port. */
  get url(): string {
    const { listen, tls } = this.#config;
    if (listen.tcp === null) return `unix:${listen.unix?.path ?? ''}`;
    const { address, port, family } = this.#server.server.address() as AddressInfo;
    return `${tls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Makes ready what the first migration would have to wait for. */
  warmUp(): void {
    if (this.#config.link.pages !== 'auto') return;
    this.#laneThreads.warmUp();
    this.#sendingThreads.warmUp();
  }

  /**
   * Shuts down: waiting migrations are cancelled, running ones finished or cancelled as configured, guests that live
   * in this process ended. Says of each what became of it. Harmless when repeated.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Takes new certificates and tokens from the files that the configuration names. Throws invalid-request: the former ones stay. */
  reloadCredentials(): void {
    this.#credentials.read();
    const options = this.#credentials.serverOptions();
    if (options) (this.#server.server as unknown as TlsServer).setSecureContext(options);
    this.#logger.info('certificates and tokens were read again');
  }

  // -- AgentService

  node(): NodeInfo {
    const { node, peers } = this.#config;
    return {
      node,
      version: VERSION,
      protocol: PROTOCOL_VERSIONS,
      guests: this.#guests.list().length,
      memoryUsedBytes: this.#guests.memoryUsedBytes,
      memoryLimitBytes: this.#guests.memoryLimitBytes,
      peers: Object.entries(peers).map(([name, url]) => ({ node: name, url })),
      process: processFigures(),
      drained: this.#drain.drained,
      at: new Date(this.#now()).toISOString(),
    };
  }

  status() {
    return { node: this.node(), guests: this.guests(), migrations: this.migrations() };
  }

  queue() {
    return this.#lock.entries();
  }

  async cluster(fresh = false) {
    return await this.#cluster.report(fresh);
  }

  async setDrained(drained: boolean) {
    await this.#drain.set(drained);
    return this.node();
  }

  guests() {
    return this.#guests.list();
  }

  guest(name: string) {
    return this.#guests.get(name);
  }

  async defineGuest(definition: GuestDefinition, image: Uint8Array | undefined) {
    await this.#guests.define(definition, image);
    this.#logger.info({ vm: definition.name }, 'VM defined');
    return this.#guests.get(definition.name);
  }

  async undefineGuest(name: string) {
    await this.#guests.undefine(name);
    this.#logger.info({ vm: name }, 'VM undefined');
  }

  async startGuest(name: string) {
    this.#refuseWhileClosing();
    return await this.#operate(name, 'VM started', () => this.#guests.start(name));
  }

  async stopGuest(name: string) {
    return await this.#operate(name, 'VM stopped', () => this.#guests.stop(name));
  }

  async pauseGuest(name: string) {
    return await this.#operate(name, 'VM paused', () => this.#guests.pause(name));
  }

  async resumeGuest(name: string) {
    return await this.#operate(name, 'VM resumed', () => this.#guests.resume(name));
  }

  async adoptGuest(name: string, socket: string) {
    this.#refuseWhileClosing();
    return await this.#operate(name, 'VM adopted', () => this.#guests.takeOver(name, socket));
  }

  async guestOutcome(name: string) {
    return await reportOutcome(this.#resolveContext, name);
  }

  async resolveGuest(name: string, request: ResolveRequest) {
    return await resolveOutcome(this.#resolveContext, name, request);
  }

  async doctor(): Promise<DoctorReport> {
    return await doctorNode({
      ...{ config: this.#config, guests: this.#guests, credentials: this.#credentials },
      drained: () => this.#drain.drained,
    });
  }

  async doctorPeers(): Promise<PeerReports> {
    return await this.#peerChecks.report();
  }

  readiness(): Promise<ReadinessReport> {
    return this.#readiness.report();
  }

  async metrics(): Promise<string> {
    const { ready } = await this.readiness();
    return await this.#metrics.text({
      ...{
        node: this.node(),
        guests: this.guests(),
        queue: this.queue(),
        migrations: this.migrations(),
        ready,
      },
      journal: this.#journal.entries(),
      connections: { api: this.#connections.count, link: this.#link.connections },
      certificateExpiresAt: this.#credentials.expiresAt,
    });
  }

  console(name: string, position: number, follow: boolean, signal: AbortSignal) {
    return this.#guests.console(name, position, follow, signal);
  }

  async consoleInput(name: string, data: Uint8Array) {
    await this.#guests.input(name, data);
  }

  async startMigration(request: MigrationRequest) {
    return await this.#requests.start(request);
  }

  async preflight(request: MigrationRequest) {
    return await this.#requests.preflight(request);
  }

  async testLink(request: LinkTestRequest, signal: AbortSignal) {
    return await this.#requests.testLink(request, signal);
  }

  migrations(): MigrationInfo[] {
    return [...this.#outgoing.list(), ...this.#incoming.list()].sort((a, b) =>
      a.requestedAt < b.requestedAt ? 1 : -1,
    );
  }

  async migration(id: string) {
    return await this.#outgoing.info(id);
  }

  history() {
    return this.#outgoing.history();
  }

  async cancelMigration(id: string): Promise<MigrationInfo> {
    const migration = this.#outgoing.get(id);
    await migration.cancel();
    return migration.info();
  }

  limitMigration(id: string, bandwidthBytesPerSecond: number): MigrationInfo {
    const migration = this.#outgoing.get(id);
    migration.limit(bandwidthBytesPerSecond);
    return migration.info();
  }

  migrationEvents(id: string, after: number, signal: AbortSignal) {
    return this.#outgoing.get(id).events.since(after, signal);
  }

  // --

  #address(node: string): NodeAddress | undefined {
    const url = this.#config.peers[node];
    return url === undefined ? undefined : { node, url };
  }

  async #listen(): Promise<void> {
    const { tcp, unix } = this.#config.listen;
    if (tcp) await this.#listenTo(tcp);
    else await this.#server.ready();
    if (unix) {
      const event = this.#config.tls ? 'secureConnection' : 'connection';
      this.#unix = await UnixListener.listen(unix.path, (socket) => this.#server.server.emit(event, socket));
    }
    this.#logger.info({ url: this.url, ...(unix && { socket: unix.path }) }, 'agent is serving');
  }

  async #listenTo({ host, port }: { host: string; port: number }): Promise<void> {
    try {
      await this.#server.listen({ host, port });
    } catch (error) {
      const reason =
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'is in use' : (error as Error).message;
      const text = `the address ${host}:${port} can't be listened on: it ${reason}; choose another one as 'listen'`;
      throw new MigrationError('invalid-request', text, { cause: error });
    }
  }

  async #operate(name: string, done: string, operation: () => Promise<void>) {
    await operation();
    this.#logger.info({ vm: name }, done);
    return this.#guests.get(name);
  }

  #refuseWhileClosing(): void {
    if (this.#closing)
      throw new MigrationError('shutting-down', `node ${this.#config.node} is shutting down`);
  }

  async #close(): Promise<void> {
    const { migrations: policy, timeout } = this.#config.shutdown;
    this.#logger.info({ policy }, 'shutting down');
    this.#endQuestions.abort(
      new MigrationError('shutting-down', `node ${this.#config.node} is shutting down`),
    );
    await Promise.all([
      this.#outgoing.close(policy, timeout),
      // A guest that this agent ends with itself is better off where it is.
      this.#incoming.close(),
    ]);
    await this.#link.close();
    await Promise.all([this.#laneThreads.close(), this.#sendingThreads.close()]);
    this.#lock.close();
    const ended = await this.#guests.close();
    if (ended.length > 0) this.#logger.warn({ vms: ended }, 'VMs that live in this agent ended with it');
    const unixClosed = this.#unix?.close(this.#server.server);
    await this.#server.close();
    await unixClosed;
    await this.#history.close();
    await this.#stateLock.release();
    this.#logger.info('agent has shut down');
  }
}

function journalDirectory({ stateDirectory }: AgentConfig): string {
  return join(stateDirectory, 'journal');
}
