import fc from 'fast-check';
import t from 'tap';
import { compareArrival } from '../../agent/lock/pair.js';
import { LockCluster, type ClusterMigration } from './lock-cluster.js';

/**
 * Sixteen nodes and forty migrations over connections with random delays, on virtual time: what the exploration of
 * small clusters proves for every order, at the size that is asked for.
 */

const NODES = Array.from({ length: 16 }, (_, index) => `node-${String(index).padStart(2, '0')}`);

const pairArbitrary = fc
  .tuple(fc.nat(NODES.length - 1), fc.integer({ min: 1, max: NODES.length - 1 }))
  .map(([from, distance]) => [NODES[from]!, NODES[(from + distance) % NODES.length]!] as const);

function sharesNode(a: ClusterMigration, b: ClusterMigration): boolean {
  return [a.from, a.to].some((node) => node === b.from || node === b.to);
}

function arrivedBefore(a: ClusterMigration, b: ClusterMigration): boolean {
  const request = ({ id, from, to, requestedAt }: ClusterMigration) => ({
    ...{ migration: id, vm: id, from, to, requestedAt },
  });
  return compareArrival(request(a), request(b)) < 0;
}

/** Watches a cluster step by step. */
class Observer {
  mostAtOnce = 0;
  readonly #cluster: LockCluster;
  readonly #overtakeLimit: number;
  readonly #started = new Set<string>();
  /** Overtakings by migration and node: who came later, and started at the node while the other waited there. */
  readonly overtakings = new Map<string, number>();

  constructor(cluster: LockCluster, overtakeLimit: number) {
    this.#cluster = cluster;
    this.#overtakeLimit = overtakeLimit;
  }

  check(): void {
    const running = this.#cluster.running();
    this.mostAtOnce = Math.max(this.mostAtOnce, running.length);
    for (const [index, a] of running.entries()) {
      for (const b of running.slice(index + 1)) {
        if (sharesNode(a, b)) throw new Error(`${a.id} and ${b.id} share a node and both run`);
      }
    }
    for (const migration of running) this.#countOvertaking(migration);
    if (this.#cluster.inFlight === 0) this.#checkIdle();
  }

  #countOvertaking(migration: ClusterMigration): void {
    for (const node of [migration.from, migration.to]) {
      const key = `${migration.id} ${node}`;
      if (this.#started.has(key) || this.#cluster.lock(node).holder !== migration.id) continue;
      this.#started.add(key);
      for (const entry of this.#cluster.lock(node).entries()) {
        if (entry.state === 'running') continue;
        const waiter = this.#cluster.migrations.find(({ id }) => id === entry.migration)!;
        if (!arrivedBefore(waiter, migration)) continue;
        const count = (this.overtakings.get(`${waiter.id} ${node}`) ?? 0) + 1;
        this.overtakings.set(`${waiter.id} ${node}`, count);
        if (count > this.#overtakeLimit) {
          throw new Error(`${waiter.id} was overtaken ${count} times at ${node}`);
        }
      }
    }
  }

  /** With no message under way, a migration waits only for a node that is running, or kept for an earlier one. */
  #checkIdle(): void {
    const waiting = this.#cluster.migrations.filter(({ hold, error, links }) => !hold && !error && links[0]);
    for (const migration of waiting) {
      const blocked = [migration.from, migration.to].some((node) => {
        const lock = this.#cluster.lock(node);
        if (lock.holder !== null) return true;
        return lock.entries().some(({ overtaken, migration: id }) => {
          const other = this.#cluster.migrations.find((candidate) => candidate.id === id)!;
          return this.#isKept(other, overtaken) && arrivedBefore(other, migration);
        });
      });
      if (!blocked) throw new Error(`${migration.id} waits while both of its nodes are free`);
    }
  }

  /** Kept at one of its nodes means kept at both, once the messages are there. */
  #isKept(migration: ClusterMigration, overtaken: number): boolean {
    const elsewhere = [migration.from, migration.to].flatMap((node) =>
      this.#cluster
        .lock(node)
        .entries()
        .filter((entry) => entry.migration === migration.id),
    );
    return Math.max(overtaken, ...elsewhere.map((entry) => entry.overtaken)) >= this.#overtakeLimit;
  }
}

/** Lets each migration run for a while once it has its pair. */
function runFor(cluster: LockCluster, migration: ClusterMigration, ms: number): void {
  void migration.waited.then(() => {
    if (migration.hold) cluster.timers.after(ms, () => cluster.finish(migration));
  });
}

void t.test('forty migrations between sixteen nodes all complete, by the rules', async (t) => {
  let most = 0;
  let overtakings = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          pair: pairArbitrary,
          afterMs: fc.nat(20),
          runMs: fc.integer({ min: 1, max: 200 }),
          clockAheadMs: fc.nat(5),
        }),
        { minLength: 40, maxLength: 40 },
      ),
      fc.array(fc.nat(10), { minLength: 97, maxLength: 97 }),
      fc.integer({ min: 1, max: 3 }),
      async (plan, delays, overtakeLimit) => {
        let message = 0;
        const delayMs = () => delays[message++ % delays.length]!;
        const cluster = new LockCluster(NODES, { delayMs, overtakeLimit });
        const observer = new Observer(cluster, overtakeLimit);
        for (const { pair, afterMs, runMs, clockAheadMs } of plan) {
          cluster.timers.after(afterMs, () => {
            const requestedAt = cluster.timers.now + clockAheadMs;
            runFor(cluster, cluster.start(pair[0], pair[1], requestedAt), runMs);
          });
        }
        while (await cluster.timers.step()) observer.check();
        for (const { id, hold, error } of cluster.migrations) {
          if (!hold) throw new Error(`${id} did not run: ${error?.message ?? 'it still waits'}`);
        }
        for (const lock of cluster.nodes.values()) {
          if (lock.entries().length > 0) throw new Error(`the queue of ${lock.node} is not empty`);
        }
        most = Math.max(most, observer.mostAtOnce);
        overtakings += [...observer.overtakings.values()].reduce((sum, count) => sum + count, 0);
      },
    ),
    { numRuns: 60 },
  );
  t.comment(`at most ${most} at once, ${overtakings} overtakings`);
  t.ok(most <= 8, 'never more than eight at once');
  t.ok(most >= 6, 'and not just one after the other');
  t.ok(overtakings > 0, 'overtaking happened');
});

void t.test('eight disjoint pairs run at once', async (t) => {
  const cluster = new LockCluster(NODES);
  for (let index = 0; index < 16; index += 2) cluster.start(NODES[index]!, NODES[index + 1]!);
  await cluster.timers.advance(100);
  t.equal(cluster.running().length, 8);
});

void t.test('migrations of one pair, either way, run strictly in order of arrival', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { minLength: 2, maxLength: 12 }),
      fc.array(fc.nat(30), { minLength: 31, maxLength: 31 }),
      async (directions, delays) => {
        let message = 0;
        const cluster = new LockCluster(['a', 'b'], { delayMs: () => delays[message++ % delays.length]! });
        const first = cluster.start('a', 'b');
        await cluster.timers.advance(1000);
        const order: string[] = [];
        for (const [index, there] of directions.entries()) {
          const migration = cluster.start(there ? 'a' : 'b', there ? 'b' : 'a', 1000 + index);
          void migration.waited.then(() => order.push(migration.id));
          runFor(cluster, migration, 5);
        }
        await cluster.timers.advance(1000); // all are in both queues
        cluster.finish(first);
        while (await cluster.timers.step()) continue;
        if (order.length !== directions.length) throw new Error(`only ${order.length} ran`);
        if (order.join() !== [...order].sort().join())
          throw new Error(`they ran in this order: ${order.join()}`);
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

void t.test('cuts, cancels and vanished nodes leave nothing behind', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          pair: pairArbitrary,
          afterMs: fc.nat(100),
          runMs: fc.nat(200),
          cancelMs: fc.option(fc.nat(300)),
          cutMs: fc.option(fc.nat(300)),
        }),
        { minLength: 1, maxLength: 40 },
      ),
      fc.array(fc.nat(10), { minLength: 53, maxLength: 53 }),
      fc.option(fc.record({ node: fc.constantFrom(...NODES), afterMs: fc.nat(200) })),
      async (plan, delays, vanished) => {
        let message = 0;
        const cluster = new LockCluster(NODES, { delayMs: () => delays[message++ % delays.length]! });
        for (const { pair, afterMs, runMs, cancelMs, cutMs } of plan) {
          cluster.timers.after(afterMs, () => {
            const migration = cluster.start(pair[0], pair[1]);
            runFor(cluster, migration, runMs);
            void migration.waited.then(() => {
              // As an agent does: a migration that lost its peer fails, and gives back what is its own.
              const { hold } = migration;
              if (hold?.lost.aborted) cluster.finish(migration);
              else hold?.lost.addEventListener('abort', () => cluster.finish(migration));
            });
            if (cancelMs !== null) cluster.timers.after(cancelMs, () => migration.cancel.abort());
            if (cutMs !== null) cluster.timers.after(cutMs, () => migration.links.at(-1)?.cut());
          });
        }
        if (vanished) cluster.timers.after(vanished.afterMs, () => cluster.vanish(vanished.node));
        while (await cluster.timers.step()) continue;
        for (const { id, from, to, hold, error } of cluster.migrations) {
          if (!hold && !error) throw new Error(`${id} from ${from} to ${to} never ends`);
          if (error && error.code !== 'cancelled' && !vanished) throw error;
        }
        for (const lock of cluster.nodes.values()) {
          const [left] = lock.entries();
          if (left) throw new Error(`${left.migration} is left in the queue of ${lock.node}`);
        }
        if (cluster.refusals.length > 0) throw cluster.refusals[0]!;
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});
