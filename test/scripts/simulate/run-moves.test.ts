import fc from 'fast-check';
import t from 'tap';
import type { Cluster } from '../../../scripts/simulate/cluster.js';
import type { Overheads } from '../../../scripts/simulate/precopy.js';
import { type MigrationRules, type Policy, runMoves } from '../../../scripts/simulate/run-moves.js';
import { CONVERGENCE } from '../../support/convergence-options.js';

const MB = 4096 * 250;
const NONE: Overheads = { prepare: 0, round: 0, pause: 0, saving: 0, switchover: 0, release: 0 };
const RULES: MigrationRules = { ...CONVERGENCE, bandwidth: Infinity };

/** Idle guests of 100 MB on the first of nodes whose cards carry 1 MB a ms. */
function idle(nodes: number, guests: number): Cluster {
  const guest = { node: 0, memoryBytes: 100 * MB, populatedBytes: 100 * MB, writes: [] };
  return {
    linkRates: Array.from({ length: nodes }, () => MB),
    guests: Array.from({ length: guests }, () => guest),
  };
}

void t.test(
  'one after the other each has the link, at once each has its part, and all of it takes as long',
  (t) => {
    const wave = () => [
      { guest: 0, to: 1 },
      { guest: 1, to: 1 },
    ];
    const ends = (policy: Policy) =>
      runMoves(idle(2, 2), [wave], policy, RULES, NONE).migrations.map(({ endedAt }) => endedAt);
    t.same(ends('pair-lock'), [100, 200]);
    t.same(ends(2), [200, 200]);
    t.end();
  },
);

void t.test('a stream that is left alone has the whole link from then on', (t) => {
  const cluster = idle(2, 2);
  const half = { ...cluster.guests[1]!, populatedBytes: 50 * MB };
  const wave = () => [
    { guest: 0, to: 1 },
    { guest: 1, to: 1 },
  ];
  const { migrations } = runMoves({ ...cluster, guests: [cluster.guests[0]!, half] }, [wave], 2, RULES, NONE);
  // Half the rate each until the small one is there after 100 ms; then 50 MB are left.
  t.same(
    migrations.map(({ guest, endedAt }) => [guest, endedAt]),
    [
      [1, 100],
      [0, 150],
    ],
  );
  t.end();
});

void t.test('what comes before and after a migration: its nodes are held, and the link is not used', (t) => {
  const overheads = { prepare: 30, round: 0, pause: 0, saving: 5, switchover: 7, release: 60 };
  const wave = () => [
    { guest: 0, to: 1 },
    { guest: 1, to: 1 },
  ];
  const { migrations, totalMs } = runMoves(idle(2, 2), [wave], 'pair-lock', RULES, overheads);
  t.match(migrations, [
    { startedAt: 0, endedAt: 142, downtimeMs: 12 },
    { startedAt: 202, endedAt: 344 },
  ]);
  t.equal(totalMs, 344);
  t.end();
});

void t.test('a limit of its own keeps a migration from the rest of the link', (t) => {
  const run = runMoves(idle(2, 1), [() => [{ guest: 0, to: 1 }]], 4, { ...RULES, bandwidth: MB / 4 }, NONE);
  t.equal(run.totalMs, 400);
  t.end();
});

void t.test('the next wave begins where the one before has left the guests', (t) => {
  const there = (at: readonly number[]) => [{ guest: 0, to: at[0] === 0 ? 1 : 2 }];
  const { migrations } = runMoves(idle(3, 1), [there, () => [], there], 'pair-lock', RULES, NONE);
  t.match(migrations, [
    { from: 0, to: 1, requestedAt: 0, endedAt: 100 },
    { from: 1, to: 2, requestedAt: 100, endedAt: 200 },
  ]);
  t.end();
});

void t.test('a guest whose migration is cancelled stays', (t) => {
  const cluster = idle(2, 1);
  const busy = {
    ...cluster.guests[0]!,
    writes: [{ bytes: 100 * MB, bytesPerMs: 2 * MB, order: 'random' as const }],
  };
  const seen: (readonly number[])[] = [];
  const waves = [
    () => [{ guest: 0, to: 1 }],
    (at: readonly number[]) => {
      seen.push([...at]);
      return [];
    },
  ];
  const rules: MigrationRules = { ...RULES, onLimit: 'cancel' };
  const { migrations } = runMoves({ ...cluster, guests: [busy] }, waves, 'pair-lock', rules, NONE);
  t.match(migrations, [{ moved: false, reason: 'stalled', downtimeMs: 0 }]);
  t.same(seen, [[0]]);
  t.end();
});

const clusters = fc.integer({ min: 2, max: 7 }).chain((nodes) =>
  fc.record({
    linkRates: fc.array(fc.constantFrom(MB / 4, MB, 3 * MB), { minLength: nodes, maxLength: nodes }),
    guests: fc.array(
      fc.record({
        node: fc.nat(nodes - 1),
        memoryBytes: fc.constant(200 * MB),
        populatedBytes: fc.integer({ min: 1, max: 200 }).map((size) => size * MB),
        writes: fc.array(
          fc.record({
            bytes: fc.integer({ min: 1, max: 50 }).map((size) => size * MB),
            bytesPerMs: fc.double({ min: 0, max: 2 * MB, noNaN: true }),
            order: fc.constantFrom('in-turn' as const, 'random' as const),
          }),
          { maxLength: 2 },
        ),
      }),
      { minLength: 1, maxLength: 25 },
    ),
    steps: fc.array(fc.integer({ min: 1, max: nodes - 1 }), { minLength: 25, maxLength: 25 }),
  }),
);
const OVERHEADS = { prepare: 20, round: 1, pause: 2, saving: 3, switchover: 4, release: 10 };

void t.test('whatever moves where, under every policy', (t) => {
  fc.assert(
    fc.property(clusters, fc.constantFrom<Policy>('pair-lock', 1, 2, 3, 8), (given, policy) => {
      const { linkRates, guests, steps } = given;
      const moves = guests.map(({ node }, guest) => ({
        guest,
        to: (node + steps[guest]!) % linkRates.length,
      }));
      let most = 0;
      const run = runMoves({ linkRates, guests }, [() => moves], policy, RULES, OVERHEADS, {
        onStart: (running) => {
          const nodes = running.flatMap(({ from, to }) => [from, to]);
          most = Math.max(most, ...nodes.map((node) => nodes.filter((other) => other === node).length));
        },
      });
      const limit = policy === 'pair-lock' ? 1 : policy;
      if (most > limit || run.mostPerNode !== most) throw new Error(`${most} at once at a node`);
      const moved = run.migrations.map(({ guest }) => guest).sort((a, b) => a - b);
      if (moved.some((guest, index) => guest !== index) || moved.length !== guests.length)
        throw new Error('not each guest once');
      for (const { guest, wireBytes, startedAt, endedAt, from, to } of run.migrations) {
        const { populatedBytes } = guests[guest]!;
        if (wireBytes < populatedBytes * (1 - 1e-9)) throw new Error('less sent than is populated');
        const rate = Math.min(linkRates[from]!, linkRates[to]!);
        if (wireBytes > (endedAt - startedAt) * rate * (1 + 1e-6)) throw new Error('faster than its link');
      }
      for (const [node, rate] of linkRates.entries()) {
        for (const side of ['from', 'to'] as const) {
          const bytes = run.migrations
            .filter((each) => each[side] === node)
            .reduce((sum, { wireBytes }) => sum + wireBytes, 0);
          if (bytes > rate * run.totalMs * (1 + 1e-6))
            throw new Error(`node ${node}: more than its card carries`);
        }
      }
    }),
    { numRuns: 150 },
  );
  t.end();
});
