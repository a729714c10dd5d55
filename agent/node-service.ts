import type { Logger } from 'pino';
import type {
  LinkTestRequest,
  MigrationInfo,
  MigrationRequest,
  NodeInfo,
  ReadinessReport,
  ResolveRequest,
} from '../shared/api.js';
import type { DoctorReport, PeerReports } from '../shared/api/doctor.js';
import type { AgentConfig } from '../shared/config.js';
import type { GuestDefinition } from '../shared/guest-definition.js';
import { PROTOCOL_VERSIONS } from '../shared/protocol/messages.js';
import { VERSION } from '../shared/version.js';
import type { AgentService } from './api/service.js';
import { ClusterView } from './cluster/cluster-view.js';
import { doctorNode } from './doctor/node-doctor.js';
import { PeerChecks } from './doctor/peer-checks.js';
import type { AgentMetrics } from './metrics/agent-metrics.js';
import type { NodeCredentials } from './node-credentials.js';
import type { NodeMigrations } from './node-migrations.js';
import { journalDirectory, type NodeState } from './node-state.js';
import { processFigures } from './process-figures.js';
import { Readiness } from './readiness.js';
import { reportOutcome, resolveOutcome } from './source/resolve-outcome.js';

export interface NodeServiceContext {
  readonly config: AgentConfig;
  readonly state: NodeState;
  readonly migrations: NodeMigrations;
  readonly credentials: NodeCredentials;
  readonly metrics: AgentMetrics;
  readonly logger: Logger;
  /** Where this agent serves. */
  readonly url: () => string;
  /** Who is connected there. */
  readonly connections: () => { readonly api: number; readonly link: number };
  /** The end of the agent: nothing new is begun then, for its reason. */
  readonly signal: AbortSignal;
  /** The host's clock. Unix ms */
  readonly now: () => number;
}

/** What one node offers its clients. */
export class NodeService implements AgentService {
  readonly #context: NodeServiceContext;
  readonly #state: NodeState;
  readonly #migrations: NodeMigrations;
  readonly #cluster: ClusterView;
  readonly #peerChecks: PeerChecks;
  readonly #readiness: Readiness;

  constructor(context: NodeServiceContext) {
    const { config, state, migrations, credentials, logger, url, signal } = context;
    const { node, stateDirectory } = config;
    this.#context = context;
    this.#state = state;
    this.#migrations = migrations;
    const others = { node, peers: () => this.#peers(), tls: () => credentials.tls, signal };
    this.#cluster = new ClusterView({
      ...others,
      url,
      own: () => ({ status: this.status(), queue: this.queue() }),
    });
    this.#peerChecks = new PeerChecks({ ...others, dialer: migrations.dialer });
    this.#readiness = new Readiness({
      journal: journalDirectory(config),
      stateDirectory,
      closing: () => signal.aborted,
      drained: () => state.drain.drained,
      logger,
    });
  }

  node(): NodeInfo {
    const { guests, drain } = this.#state;
    return {
      node: this.#context.config.node,
      version: VERSION,
      protocol: PROTOCOL_VERSIONS,
      guests: guests.store.list().length,
      memoryUsedBytes: guests.vms.memoryUsedBytes,
      memoryLimitBytes: guests.vms.memoryLimitBytes,
      peers: this.#peers(),
      process: processFigures(),
      drained: drain.drained,
      at: new Date(this.#context.now()).toISOString(),
    };
  }

  status() {
    return { node: this.node(), guests: this.guests(), migrations: this.migrations() };
  }

  queue() {
    return this.#migrations.lock.entries();
  }

  async cluster(fresh = false) {
    return await this.#cluster.report(fresh);
  }

  async setDrained(drained: boolean) {
    await this.#state.drain.set(drained);
    return this.node();
  }

  guests() {
    return this.#state.guests.store.list();
  }

  guest(name: string) {
    return this.#state.guests.store.get(name);
  }

  async defineGuest(definition: GuestDefinition, image: Uint8Array | undefined) {
    await this.#state.guests.store.define(definition, image);
    this.#context.logger.info({ vm: definition.name }, 'VM defined');
    return this.#state.guests.store.get(definition.name);
  }

  async undefineGuest(name: string) {
    await this.#state.guests.store.undefine(name);
    this.#context.logger.info({ vm: name }, 'VM undefined');
  }

  async startGuest(name: string) {
    this.#context.signal.throwIfAborted();
    return await this.#operate(name, 'VM started', () => this.#state.guests.store.start(name));
  }

  async stopGuest(name: string) {
    return await this.#operate(name, 'VM stopped', () => this.#state.guests.store.stop(name));
  }

  async pauseGuest(name: string) {
    return await this.#operate(name, 'VM paused', () => this.#state.guests.store.pause(name));
  }

  async resumeGuest(name: string) {
    return await this.#operate(name, 'VM resumed', () => this.#state.guests.store.resume(name));
  }

  async adoptGuest(name: string, socket: string) {
    this.#context.signal.throwIfAborted();
    return await this.#operate(name, 'VM adopted', () => this.#state.guests.store.takeOver(name, socket));
  }

  async guestOutcome(name: string) {
    return await reportOutcome(this.#migrations.settling, name);
  }

  async resolveGuest(name: string, request: ResolveRequest) {
    return await resolveOutcome(this.#migrations.settling, name, request);
  }

  async doctor(): Promise<DoctorReport> {
    const { config, credentials } = this.#context;
    const { guests, kinds, drain } = this.#state;
    const { vms } = guests;
    return await doctorNode({ config, kinds, vms, credentials, drained: () => drain.drained });
  }

  async doctorPeers(): Promise<PeerReports> {
    return await this.#peerChecks.report();
  }

  readiness(): Promise<ReadinessReport> {
    return this.#readiness.report();
  }

  async metrics(): Promise<string> {
    const { metrics, credentials, connections } = this.#context;
    const { ready } = await this.readiness();
    return await metrics.text({
      node: this.node(),
      guests: this.guests(),
      queue: this.queue(),
      migrations: this.migrations(),
      ready,
      journal: this.#state.journal.entries(),
      connections: connections(),
      certificateExpiresAt: credentials.expiresAt,
    });
  }

  console(name: string, position: number, follow: boolean, signal: AbortSignal) {
    return this.#state.guests.store.console(name, position, follow, signal);
  }

  async consoleInput(name: string, data: Uint8Array) {
    await this.#state.guests.store.input(name, data);
  }

  async startMigration(request: MigrationRequest) {
    return await this.#migrations.requests.start(request);
  }

  async preflight(request: MigrationRequest) {
    return await this.#migrations.requests.preflight(request);
  }

  async testLink(request: LinkTestRequest, signal: AbortSignal) {
    return await this.#migrations.requests.testLink(request, signal);
  }

  migrations(): MigrationInfo[] {
    return this.#migrations.list();
  }

  async migration(id: string) {
    return await this.#migrations.outgoing.info(id);
  }

  history() {
    return this.#migrations.outgoing.history();
  }

  async cancelMigration(id: string): Promise<MigrationInfo> {
    const migration = this.#migrations.outgoing.get(id);
    await migration.cancel();
    return migration.info();
  }

  limitMigration(id: string, bandwidthBytesPerSecond: number): MigrationInfo {
    const migration = this.#migrations.outgoing.get(id);
    migration.limit(bandwidthBytesPerSecond);
    return migration.info();
  }

  migrationEvents(id: string, after: number, signal: AbortSignal) {
    return this.#migrations.outgoing.get(id).events.since(after, signal);
  }

  // --

  #peers() {
    return Object.entries(this.#context.config.peers).map(([node, url]) => ({ node, url }));
  }

  async #operate(name: string, done: string, operation: () => Promise<void>) {
    await operation();
    this.#context.logger.info({ vm: name }, done);
    return this.#state.guests.store.get(name);
  }
}
