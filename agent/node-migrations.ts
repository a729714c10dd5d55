import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import type { MigrationInfo } from '../shared/api.js';
import type { AgentConfig } from '../shared/config.js';
import { LEASE_GRACE_MS } from '../shared/lock-limits.js';
import { systemTimers } from '../shared/timers.js';
import type { LinkSettings } from './link/link-settings.js';
import { SendingThreads } from './link/sending-threads.js';
import { NodeLock } from './lock/node-lock.js';
import type { MigrationMetrics } from './metrics/migration-metrics.js';
import type { NodeAddress } from './node-address.js';
import type { NodeCredentials } from './node-credentials.js';
import type { NodeState } from './node-state.js';
import { Farewells } from './source/farewells.js';
import { MigrationRequests } from './source/migration-requests.js';
import { holdOpenQuestions, OpenQuestions } from './source/open-questions.js';
import type { OutgoingContext } from './source/outgoing-migration.js';
import { OutgoingMigrations } from './source/outgoing-migrations.js';
import { PageOffers } from './source/page-offers.js';
import { PeerDialer } from './source/peer-dialer.js';
import type { ResolveContext } from './source/resolve-outcome.js';
import { MAX_AUTO_STREAMS } from './source/stream-choice.js';
import { IncomingMigrations } from './target/incoming-migrations.js';
import { LaneThreads } from './target/lane-threads.js';

/** Threads for page streams, of each of both directions: the agent's own thread has the first stream. */
const KEPT_THREADS = Math.min(MAX_AUTO_STREAMS, availableParallelism()) - 1;

export interface NodeMigrationsContext {
  readonly config: AgentConfig;
  readonly state: NodeState;
  readonly credentials: NodeCredentials;
  readonly link: LinkSettings;
  readonly metrics: MigrationMetrics;
  readonly logger: Logger;
  /** Ends what is asked of other nodes beside migrations. */
  readonly signal: AbortSignal;
}

/** What moves guests from this node and to it, and the lock that holds it to one migration. */
export class NodeMigrations {
  readonly lock: NodeLock;
  readonly dialer: PeerDialer;
  readonly requests: MigrationRequests;
  readonly outgoing: OutgoingMigrations;
  readonly incoming: IncomingMigrations;
  /** Page streams of outgoing migrations that their targets may dial. */
  readonly offers = new PageOffers();
  /** Outcomes that this node waits for. */
  readonly settling: ResolveContext;
  readonly #pages: AgentConfig['link']['pages'];
  readonly #laneThreads = new LaneThreads(KEPT_THREADS);
  readonly #sendingThreads = new SendingThreads(KEPT_THREADS);

  constructor({ config, state, credentials, link, metrics, logger, signal }: NodeMigrationsContext) {
    const { node, peers } = config;
    const { guests, journal, history, waiting } = state;
    const { overtakeLimit, grace, disabledForBenchmark } = config.lock;
    const tls = () => credentials.tls;
    const address = (name: string): NodeAddress | undefined => {
      const url = peers[name];
      return url === undefined ? undefined : { node: name, url };
    };
    this.#pages = config.link.pages;
    this.lock = new NodeLock({
      node,
      logger,
      ...(overtakeLimit !== undefined && { overtakeLimit }),
      ...(grace !== undefined && { graceMs: grace }),
      exclusive: disabledForBenchmark !== true,
    });
    this.dialer = new PeerDialer({ ...link, tls });

    const settling = {
      ...{ node, guests: guests.outgoing, journal, logger, dialer: this.dialer, timers: systemTimers },
      ...{ signal, address },
    };
    const farewells = new Farewells(settling);
    const questions = new OpenQuestions({ ...settling, farewells });
    this.settling = { ...settling, farewells, questions, store: guests.store };

    const migrations: OutgoingContext = {
      ...{ questions, farewells, history, waiting },
      ...{ node, guests: guests.outgoing, journal, logger },
      lock: this.lock,
      lockGraceMs: grace ?? LEASE_GRACE_MS,
      dialer: this.dialer,
      offers: this.offers,
      sendingThreads: this.#sendingThreads,
      observer: metrics,
    };
    this.outgoing = new OutgoingMigrations(migrations);
    this.requests = new MigrationRequests({
      ...{ config, migrations, outgoing: this.outgoing, memory: guests.vms },
      ...{ signal, address },
    });
    this.incoming = new IncomingMigrations({
      ...{ node, guests: guests.incoming, journal, logger },
      lock: this.lock,
      scratchMemory: (request) => this.requests.scratchMemory(request),
      onEnded: (error) => metrics.incomingEnded(error),
      streamsFrom: (peer) => ({ url: peers[peer], threads: this.#laneThreads, tls: credentials.tls }),
    });
    // Before anybody can start them.
    holdOpenQuestions(journal, guests.outgoing);
  }

  /** Makes ready what the first migration would have to wait for. */
  warmUp(): void {
    if (this.#pages !== 'auto') return;
    this.#laneThreads.warmUp();
    this.#sendingThreads.warmUp();
  }

  /** Of both directions, newest first. */
  list(): MigrationInfo[] {
    return [...this.outgoing.list(), ...this.incoming.list()].sort((a, b) =>
      a.requestedAt < b.requestedAt ? 1 : -1,
    );
  }

  /** Asks other nodes for what an earlier run of this agent has not heard. */
  startSettling(): void {
    this.settling.questions.start();
    this.settling.farewells.start();
  }

  /** Leaves what waits to the next run; finishes what runs, for so long at most, or cancels it. */
  async end({ migrations: policy, timeout }: AgentConfig['shutdown']): Promise<void> {
    await Promise.all([
      this.outgoing.close(policy, timeout),
      // A guest that this agent ends with itself is better off where it is.
      this.incoming.close(),
    ]);
  }

  /** Once they have ended and no link is open any more. */
  async close(): Promise<void> {
    await Promise.all([this.#laneThreads.close(), this.#sendingThreads.close()]);
    this.lock.close();
  }
}
