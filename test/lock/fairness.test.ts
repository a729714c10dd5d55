import fc from 'fast-check';
import t from 'tap';
import { OVERTAKE_LIMIT } from '../../shared/lock-limits.js';
import { compareArrival } from '../../agent/lock/pair.js';
import { type ClusterMigration, LockCluster } from './lock-cluster.js';

/**
 * Long queues on nodes that many migrations share: no migration waits for others than those that were asked for before it on its own two
 * nodes, and at most OVERTAKE_LIMIT later ones at each. The product's own locks, on virtual time, all drawn from a seed.
 */

const NODES = Array.from({ length: 12 }, (_, index) => `node-${String(index).padStart(2, '0')}`);

interface Ask {
  readonly from: string;
  readonly to: string;
  readonly afterMs: number;
  readonly runMs: number;
}

const other = (node: string, index: number) => {
  const others = NODES.filter((each) => each !== node);
  return others[index % others.length]!;
};

/** Moves of a kind of work: where from and where to, of a number that is drawn. */
const WORK: Record<string, (drawn: number) => { from: string; to: string }> = {
  'one node is drained while others move VMs': (drawn) => {
    const from = drawn % 3 === 0 ? other(NODES[0]!, drawn >> 2) : NODES[0]!;
    return { from, to: from === NODES[0] ? other(from, drawn >> 4) : other(from, drawn >> 6) };
  },
  'all go to or from three nodes': (drawn) => {
    const hub = NODES[drawn % 3]!;
    const peer = other(hub, drawn >> 2);
    return drawn & 1024 ? { from: hub, to: peer } : { from: peer, to: hub };
  },
  'any to any': (drawn) => {
    const from = NODES[drawn % NODES.length]!;
    return { from, to: other(from, drawn >> 5) };
  },
};

interface Turn {
  readonly migration: ClusterMigration;
  readonly endsAt: number;
}

/** Runs all of them to their ends; in the order in which they got both nodes. */
async function run(asks: readonly Ask[], delays: readonly number[]) {
  let message = 0;
  const cluster = new LockCluster(NODES, { delayMs: () => delays[message++ % delays.length]! });
  const started: Turn[] = [];
  for (const { from, to, afterMs, runMs } of asks) {
    cluster.timers.after(afterMs, () => {
      const migration = cluster.start(from, to);
      void migration.waited.then(() => {
        if (!migration.hold) return;
        started.push({ migration, endsAt: cluster.timers.now + runMs });
        cluster.timers.after(runMs, () => cluster.finish(migration));
      });
    });
  }
  while (await cluster.timers.step()) continue;
  return { started, all: cluster.migrations };
}

const requestOf = ({ id, from, to, requestedAt }: ClusterMigration) => {
  return { migration: id, vm: id, from, to, requestedAt };
};

for (const [what, move] of Object.entries(WORK)) {
  void t.test(what, async (t) => {
    let longest = 0;
    let overtakings = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ drawn: fc.nat(2 ** 20), afterMs: fc.nat(400), runMs: fc.integer({ min: 1, max: 60 }) }),
          { minLength: 150, maxLength: 150 },
        ),
        fc.array(fc.nat(4), { minLength: 31, maxLength: 31 }),
        async (drawn, delays) => {
          const asks = drawn.map((each): Ask => ({ ...each, ...move(each.drawn) }));
          const { started, all } = await run(asks, delays);
          if (started.length !== all.length) throw new Error(`${all.length - started.length} never ran`);
          for (const [place, { migration }] of started.entries()) {
            const own = [migration.from, migration.to];
            // Whoever had one of its nodes while it waited.
            const before = started
              .slice(0, place)
              .filter(({ endsAt }) => endsAt >= migration.requestedAt)
              .map((turn) => turn.migration)
              .filter(({ from, to }) => own.includes(from) || own.includes(to));
            const later = before.filter((each) => compareArrival(requestOf(each), requestOf(migration)) > 0);
            for (const node of own) {
              const overtakers = later.filter(({ from, to }) => from === node || to === node).length;
              if (overtakers > OVERTAKE_LIMIT) {
                throw new Error(`${migration.id} was overtaken ${overtakers} times at ${node}`);
              }
              overtakings += overtakers;
            }
            longest = Math.max(longest, before.length);
          }
        },
      ),
      // a shorter example of hundreds of moves would take minutes to find
      { numRuns: 8, seed: 20, endOnFailure: true },
    );
    t.comment(`up to ${longest} before one at its nodes, ${overtakings} overtakings`);
    t.ok(longest > 2 * OVERTAKE_LIMIT, 'queues are longer than what may be overtaken');
    t.ok(overtakings > 0, 'overtaking happened');
  });
}
