import type { ConvergenceOptions } from '../../agent/source/convergence.js';
import type { Admission, Requested } from './admission.js';
import type { Cluster } from './cluster.js';
import { EventQueue } from './event-queue.js';
import type { Wave } from './moves.js';
import { NodeSlots } from './node-slots.js';
import { PairLocks } from './pair-locks.js';
import { type Overheads, precopy, type PrecopyResult, type StepEnd } from './precopy.js';
import { SharedNetwork } from './shared-network.js';

/** 'pair-lock': one at a time, as the product does; a number: so many at once per node. */
export type Policy = 'pair-lock' | number;

export interface MigrationRules extends ConvergenceOptions {
  /** What one migration may put on the link; Infinity: as much as there is. bytes/ms */
  readonly bandwidth: number;
}

/** One migration of a run. Times are ms since the beginning. */
export interface MigrationRun extends PrecopyResult, Requested {
  readonly guest: number;
  readonly requestedAt: number;
  readonly startedAt: number;
  readonly endedAt: number;
}

export interface MovesRun {
  readonly migrations: readonly MigrationRun[];
  readonly totalMs: number;
  /** Most migrations that any node took part in at once. */
  readonly mostPerNode: number;
  readonly events: number;
}

/** Told what goes on, for whoever wants to look inside. */
export interface RunWatcher {
  /** Nodes of all migrations that have theirs. */
  onStart?(running: readonly Requested[]): void;
}

/** Moves all that `waves` say, under one policy. */
export function runMoves(
  cluster: Cluster,
  waves: readonly Wave[],
  policy: Policy,
  rules: MigrationRules,
  overheads: Overheads,
  watcher: RunWatcher = {},
): MovesRun {
  const run = new Run(cluster, waves, policy, rules, overheads, watcher);
  return run.toEnd();
}

interface Waiting extends Requested {
  readonly guest: number;
  readonly requestedAt: number;
}

class Run {
  readonly #cluster: Cluster;
  readonly #waves: Wave[];
  readonly #rules: MigrationRules;
  readonly #overheads: Overheads;
  readonly #watcher: RunWatcher;
  readonly #queue = new EventQueue();
  readonly #network: SharedNetwork;
  readonly #admission: Admission;
  /** Where each guest is. */
  readonly #at: number[];
  readonly #perNode: number[];
  readonly #running = new Set<Waiting>();
  readonly #ended: MigrationRun[] = [];
  #mostPerNode = 0;
  #asked = 0;

  constructor(
    cluster: Cluster,
    waves: readonly Wave[],
    policy: Policy,
    rules: MigrationRules,
    overheads: Overheads,
    watcher: RunWatcher,
  ) {
    this.#cluster = cluster;
    this.#waves = [...waves];
    this.#rules = rules;
    this.#overheads = overheads;
    this.#watcher = watcher;
    this.#network = new SharedNetwork(this.#queue, cluster.linkRates);
    this.#at = cluster.guests.map(({ node }) => node);
    this.#perNode = cluster.linkRates.map(() => 0);
    const start = (migration: Requested) => this.#start(migration as Waiting);
    this.#admission =
      policy === 'pair-lock' ? new PairLocks(start) : new NodeSlots(this.#perNode.length, policy, start);
  }

  toEnd(): MovesRun {
    this.#nextWave();
    this.#queue.run(() => this.#network.settle());
    return {
      migrations: this.#ended,
      totalMs: this.#ended.reduce((last, { endedAt }) => Math.max(last, endedAt), 0),
      mostPerNode: this.#mostPerNode,
      events: this.#queue.scheduled,
    };
  }

  /** Also where a wave has nothing to move. */
  #nextWave(): void {
    for (let wave = this.#waves.shift(); wave; wave = this.#waves.shift()) {
      const moves = wave(this.#at);
      const requestedAt = this.#queue.now;
      const requests = moves.map(({ guest, to }): Waiting => {
        this.#asked += 1;
        return { number: this.#asked, guest, from: this.#at[guest]!, to, requestedAt };
      });
      for (const request of requests) this.#admission.request(request);
      if (requests.length > 0) return;
    }
  }

  #start(migration: Waiting): void {
    const { guest, from, to } = migration;
    for (const node of [from, to]) {
      this.#perNode[node]! += 1;
      this.#mostPerNode = Math.max(this.#mostPerNode, this.#perNode[node]!);
    }
    this.#running.add(migration);
    this.#watcher.onStart?.([...this.#running]);
    const startedAt = this.#queue.now;
    this.#queue.after(this.#overheads.prepare, () => {
      const stream = this.#network.open(from, to, this.#rules.bandwidth);
      const { guests } = this.#cluster;
      const steps = precopy(guests[guest]!, this.#rules, this.#overheads, this.#queue.now);
      const go = (end?: StepEnd) => {
        const step = end ? steps.next(end) : steps.next();
        if (step.done) {
          stream.close();
          const endedAt = this.#queue.now;
          this.#ended.push({ ...migration, ...step.value, startedAt, endedAt });
          if (step.value.moved) this.#at[guest] = to;
          this.#queue.after(this.#overheads.release, () => this.#release(migration));
        } else if (step.value.do === 'wait') {
          this.#queue.after(step.value.ms, () => go({ now: this.#queue.now, leftBytes: 0 }));
        } else {
          const { bytes, until } = step.value;
          stream.send(bytes, until, (leftBytes) => go({ now: this.#queue.now, leftBytes }));
        }
      };
      go();
    });
  }

  #release(migration: Waiting): void {
    for (const node of [migration.from, migration.to]) this.#perNode[node]! -= 1;
    this.#running.delete(migration);
    this.#admission.release(migration);
    if (this.#ended.length === this.#asked && this.#running.size === 0) this.#nextWave();
  }
}
