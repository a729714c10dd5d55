import fc from 'fast-check';
import t from 'tap';
import type { Candidate } from '../../../scripts/cli/placement/node-guests.js';
import type { NodeLoad } from '../../../scripts/cli/placement/node-load.js';
import { planBalance } from '../../../scripts/cli/placement/plan-balance.js';
import { candidate, closed, dryRuns, GIB, load } from './placement-samples.js';

const balance = (vms: Candidate[], loads: NodeLoad[], tolerance = 0.1, refusals = {}) =>
  planBalance(vms, loads, tolerance, dryRuns(refusals).dryRun);
const where = ({ moves }: Awaited<ReturnType<typeof balance>>) => moves.map(({ vm, to }) => `${vm} ${to}`);

await t.test('one move where one does it, though smaller ones come first by name', async (t) => {
  const vms = [
    candidate('a1', 'a', 1),
    candidate('a2', 'a', 1),
    candidate('big', 'a', 2),
    candidate('b1', 'b', 2),
  ];
  const plan = await balance(vms, [load('a', 10, 6), load('b', 10, 2)]);
  t.same(where(plan), ['big b']);
  t.match(plan, { balanced: true, meanFill: 0.4, moves: [{ reason: 'a is 60 % full, b is 20 % full' }] });
  t.same(
    plan.nodes.map(({ node, beforeBytes, afterBytes }) => [node, beforeBytes / GIB, afterBytes / GIB]),
    [
      ['a', 6, 4],
      ['b', 2, 4],
    ],
  );
});

await t.test('nothing where all are near enough; what is on its way counts as done', async (t) => {
  const near = await balance([candidate('one', 'a', 1)], [load('a', 10, 5), load('b', 10, 4)]);
  t.match(near, { moves: [], balanced: true });
  const going = [load('a', 10, 6, { leavingBytes: 2 * GIB }), load('b', 10, 4)];
  t.match(await balance([candidate('one', 'a', 1)], going), { moves: [], balanced: true });
});

await t.test('where one VM is too large for it, that is said', async (t) => {
  const plan = await balance([candidate('huge', 'a', 8)], [load('a', 10, 8), load('b', 10, 0)]);
  t.match(plan, { moves: [], balanced: false });
});

await t.test('a refusal leads to the next best, drained nodes take no part', async (t) => {
  const vms = [candidate('one', 'a', 2), candidate('two', 'a', 2), candidate('far', 'd', 9)];
  const loads = [load('a', 10, 6), load('b', 10, 2), closed('d', 'node-drained', 'drained')];
  const plan = await balance(vms, loads, 0.1, { 'one b': 'target-has-guest' });
  t.same(where(plan), ['two b']);
  t.match(plan.refused, [{ vm: 'one', to: 'b', code: 'target-has-guest' }]);
  t.same(
    plan.nodes.map(({ node }) => node),
    ['a', 'b'],
  );
});

/** The fewest moves, each VM once at most, after which all are within the tolerance; null if none are. By trying all. */
function fewest(vms: readonly Candidate[], loads: readonly NodeLoad[], tolerance: number): number | null {
  const limit = loads.reduce((sum, { limitBytes }) => sum + limitBytes, 0);
  const mean = loads.reduce((sum, { takenBytes }) => sum + takenBytes, 0) / limit;
  let best: number | null = null;
  const visit = (index: number, taken: readonly number[], moves: number): void => {
    if (best !== null && moves >= best) return;
    const vm = vms[index];
    if (!vm) {
      const within = loads.every(
        (each, i) => Math.abs(taken[i]! / each.limitBytes - mean) <= tolerance + 1e-9,
      );
      if (within) best = moves;
      return;
    }
    visit(index + 1, taken, moves);
    loads.forEach((to, target) => {
      if (to.node === vm.from) return;
      const next = taken.map((bytes, i) => {
        if (i === target) return bytes + vm.memoryBytes;
        return loads[i]!.node === vm.from ? bytes - vm.memoryBytes : bytes;
      });
      visit(index + 1, next, moves + 1);
    });
  };
  visit(
    0,
    loads.map(({ takenBytes }) => takenBytes),
    0,
  );
  return best;
}

await t.test(
  'never fuller than it may be, never worse than before, no move that is not needed',
  async (t) => {
    let balanced = 0;
    let longer = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 8, max: 24 }), { minLength: 3, maxLength: 3 }),
        fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 4 })), { maxLength: 6 }),
        async (limits, vms) => {
          const candidates = vms.map(([from, gib], index) => candidate(`vm${index}`, from, gib));
          const loads = ['a', 'b', 'c'].map((node, index) => {
            const taken = vms.reduce((sum, [from, gib]) => (from === node ? sum + gib : sum), 0);
            return load(node, limits[index]!, Math.min(taken, limits[index]!));
          });
          const tolerance = 0.15;
          const plan = await balance(candidates, loads, tolerance);
          t.same(await balance([...candidates].reverse(), loads, tolerance), plan);
          const beyond = (bytes: (node: (typeof plan.nodes)[number]) => number) =>
            plan.nodes.reduce(
              (sum, node) =>
                sum + Math.max(0, Math.abs(bytes(node) / node.limitBytes - plan.meanFill) - tolerance),
              0,
            );
          t.ok(beyond((node) => node.afterBytes) <= beyond((node) => node.beforeBytes) + 1e-9);
          t.equal(plan.balanced, beyond((node) => node.afterBytes) <= 1e-9);
          for (const { node, limitBytes, takenBytes } of loads) {
            const coming = plan.moves.filter(({ to }) => to === node);
            t.ok(coming.reduce((sum, { memoryBytes }) => sum + memoryBytes, takenBytes) <= limitBytes);
          }
          const least = fewest(candidates, loads, tolerance);
          if (plan.balanced) {
            balanced += 1;
            t.ok(least !== null && plan.moves.length <= least + 1, `${plan.moves.length} moves, ${least} do`);
            if (plan.moves.length > least!) longer += 1;
          }
          t.ok(least !== 1 || plan.moves.length === 1, 'one where one does');
        },
      ),
      { numRuns: 150, seed: 11 },
    );
    t.comment(`${balanced} balanced, ${longer} of them with a move more than the fewest`);
    t.ok(balanced > 100);
  },
);
