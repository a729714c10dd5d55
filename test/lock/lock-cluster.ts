import type { QueueEntry } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { NodeLock } from '../../agent/lock/node-lock.js';
import { remoteNodeLock } from '../../agent/lock/node-lock-port.js';
import { acquirePair, type PairHold } from '../../agent/lock/pair-lock.js';
import { serveNodeLock } from '../../agent/lock/serve-node-lock.js';
import { memoryControl, type ControlPair, type DelayMs } from './memory-control.js';
import { VirtualTimers } from './virtual-timers.js';

export interface ClusterMigration {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly requestedAt: number;
  readonly cancel: AbortController;
  /** Its connections, the last one being the current. */
  readonly links: ControlPair[];
  readonly places: QueueEntry[];
  hold?: PairHold;
  error?: MigrationError;
  /** Settles when the wait has ended, one way or the other. */
  waited: Promise<void>;
}

/** Several agents' locks and the migrations between them, on virtual time, as the agents would wire them. */
export class LockCluster {
  readonly timers = new VirtualTimers();
  readonly nodes = new Map<string, NodeLock>();
  readonly migrations: ClusterMigration[] = [];
  readonly refusals: MigrationError[] = [];
  readonly graceMs: number;
  readonly #delayMs: DelayMs;
  readonly #unreachable = new Set<string>();

  constructor(
    names: readonly string[],
    options: { delayMs?: DelayMs; graceMs?: number; overtakeLimit?: number } = {},
  ) {
    this.graceMs = options.graceMs ?? 5000;
    this.#delayMs = options.delayMs ?? (() => 1);
    for (const node of names) {
      const limit = options.overtakeLimit === undefined ? {} : { overtakeLimit: options.overtakeLimit };
      this.nodes.set(node, new NodeLock({ node, graceMs: this.graceMs, timers: this.timers, ...limit }));
    }
  }

  lock(node: string): NodeLock {
    return this.nodes.get(node)!;
  }

  start(from: string, to: string, requestedAt = this.timers.now): ClusterMigration {
    const id = `migration-${String(this.migrations.length).padStart(3, '0')}`;
    const cancel = new AbortController();
    const migration: ClusterMigration = {
      ...{ id, from, to, requestedAt, cancel },
      links: [],
      places: [],
      waited: Promise.resolve(),
    };
    this.migrations.push(migration);
    migration.waited = acquirePair({
      request: { migration: id, vm: `vm-${id}`, from, to, requestedAt },
      local: this.lock(from).localPort(id, to),
      remote: { node: to, connect: () => this.#connect(migration) },
      signal: cancel.signal,
      onQueue: (entry) => migration.places.push(entry),
      reconnectMs: this.graceMs,
      timers: this.timers,
    }).then(
      (hold) => void (migration.hold = hold),
      (error: unknown) => {
        migration.error = error as MigrationError;
      },
    );
    return migration;
  }

  #connect(migration: ClusterMigration): Promise<ReturnType<typeof remoteNodeLock>> {
    const { id, from, to } = migration;
    if (this.#unreachable.has(from) || this.#unreachable.has(to)) {
      return Promise.reject(new MigrationError('peer-unreachable', `node ${to} does not answer`));
    }
    const link = memoryControl(this.timers, this.#delayMs);
    migration.links.push(link);
    serveNodeLock({
      lock: this.lock(to),
      control: link.target,
      migration: id,
      from,
      refused: (error) => {
        this.refusals.push(error);
        link.target.send({ type: 'error', ...error.toJSON() }).catch(() => undefined);
        link.target.close(4000, error.code);
      },
    });
    return Promise.resolve(remoteNodeLock(to, link.source));
  }

  /** The agent of `node` is gone from one moment to the next, with its lock and its coordinators. */
  vanish(node: string): void {
    this.#unreachable.add(node);
    for (const { from, to, links } of this.migrations) {
      if (from === node || to === node) links.at(-1)?.cut();
    }
  }

  get inFlight(): number {
    return this.migrations.reduce(
      (sum, { links }) => sum + links.reduce((messages, link) => messages + link.inFlight, 0),
      0,
    );
  }

  /** Migrations that have their pair and have not released it. */
  running(): ClusterMigration[] {
    return this.migrations.filter(({ id, from, hold }) => hold && this.lock(from).holder === id);
  }

  /** Ends a migration: both nodes are given back, and its connection is closed. */
  finish(migration: ClusterMigration): void {
    migration.hold?.release();
    migration.links.at(-1)?.source.close(1000, 'done');
  }
}
