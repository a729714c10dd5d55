import t from 'tap';
import {
  buildCluster,
  type Cluster,
  dirtyRatio,
  Draws,
  withWritesTimes,
} from '../../../scripts/simulate/cluster.js';
import { planMoves } from '../../../scripts/simulate/moves.js';
import { ScenarioSchema } from '../../../scripts/simulate/scenario.js';

/** A node for each list, which has guests of these sizes. */
function cluster(...sizes: number[][]): Cluster {
  return {
    linkRates: sizes.map(() => 1),
    guests: sizes.flatMap((list, node) =>
      list.map((memoryBytes) => ({ node, memoryBytes, populatedBytes: memoryBytes, writes: [] })),
    ),
  };
}

const at = ({ guests }: Cluster) => guests.map(({ node }) => node);

void t.test('a drain: nodes in turn, each guest to the node with the least memory in use', (t) => {
  const given = cluster([5, 5], [2, 2], [4], [1, 1]);
  const [drain, ...more] = planMoves({ kind: 'drain', nodes: 2 }, given, new Draws(1));
  t.same(more, []);
  t.same(drain?.(at(given)), [
    { guest: 0, to: 3 },
    { guest: 2, to: 2 },
    { guest: 1, to: 2 },
    { guest: 3, to: 3 },
  ]);
  t.end();
});

void t.test('rolling: node after node, by where guests are by then', (t) => {
  const given = cluster([5], [3], [1]);
  const waves = planMoves({ kind: 'rolling', batch: 2 }, given, new Draws(1));
  t.equal(waves.length, 2);
  t.same(waves[0]?.([0, 1, 2]), [
    { guest: 0, to: 2 },
    { guest: 1, to: 2 },
  ]);
  t.same(waves[1]?.([2, 2, 2]), [
    { guest: 0, to: 0 },
    { guest: 1, to: 1 },
    { guest: 2, to: 1 },
  ]);
  t.end();
});

void t.test('random pairs: each guest once, to another node, the same for the same seed', (t) => {
  const given = cluster(...Array.from({ length: 5 }, () => [1, 1, 1, 1]));
  const pairs = (seed: number) =>
    planMoves({ kind: 'pairs', count: 20 }, given, new Draws(seed))[0]!(at(given));
  const moves = pairs(7);
  t.equal(new Set(moves.map(({ guest }) => guest)).size, 20);
  t.ok(moves.every(({ guest, to }) => to !== given.guests[guest]!.node && to >= 0 && to < 5));
  t.same(pairs(7), moves);
  t.notSame(pairs(8), moves);
  t.end();
});

void t.test('a cluster is as its scenario says', (t) => {
  const scenario = ScenarioSchema.parse({
    nodes: [
      { count: 40, link: '10gbit', guests: 20 },
      { count: 2, link: '25gbit', guests: 0 },
    ],
    guests: [
      { share: 3, memory: '4GiB', populated: 0.5 },
      { memory: { from: '8GiB', to: '32GiB' }, writes: [{ set: '1GiB', rate: '125MB' }] },
    ],
    moves: { kind: 'drain', nodes: 1 },
  });
  const built = buildCluster(scenario, new Draws(3));
  t.equal(built.linkRates.length, 42);
  t.same([built.linkRates[0], built.linkRates[41]], [1.25e6, 3.125e6]);
  t.equal(built.guests.length, 800);
  const small = built.guests.filter(({ memoryBytes }) => memoryBytes === 4 * 2 ** 30);
  t.ok(small.length > 540 && small.length < 660, `about three of four: ${small.length}`);
  t.ok(small.every(({ populatedBytes }) => populatedBytes === 2 * 2 ** 30));
  const large = built.guests.filter(({ writes }) => writes.length > 0);
  t.ok(large.every(({ memoryBytes }) => memoryBytes >= 8 * 2 ** 30 && memoryBytes <= 32 * 2 ** 30));
  const upper = large.filter(({ memoryBytes }) => memoryBytes > 16 * 2 ** 30).length / large.length;
  t.ok(upper > 0.4 && upper < 0.6, 'half of them above the geometric mean');
  t.ok(Math.abs(dirtyRatio(withWritesTimes(built, 0.5 / dirtyRatio(built))) - 0.5) < 1e-9);
  t.same(buildCluster(scenario, new Draws(3)), built);
  t.notSame(buildCluster(scenario, new Draws(4)), built);
  t.end();
});
