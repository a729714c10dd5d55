import fc from 'fast-check';
import t from 'tap';
import { nodeGuests } from '../../../scripts/cli/placement/node-guests.js';
import { nodeLoads } from '../../../scripts/cli/placement/node-load.js';
import { planMoves } from '../../../scripts/cli/placement/plan-moves.js';
import {
  candidate,
  closed,
  clusterNode,
  dryRuns,
  GIB,
  leaving,
  load,
  queued,
  report,
  silentNode,
} from './placement-samples.js';

const where = ({ moves }: Awaited<ReturnType<typeof planMoves>>) => moves.map(({ vm, to }) => `${vm} ${to}`);

await t.test(
  'each VM goes to the node that is the least full with it, what was planned before counted in',
  async (t) => {
    const loads = [load('a', 8, 8), load('b', 8, 4), load('c', 8, 2), load('d', 16, 7)];
    const vms = [candidate('small', 'a', 1), candidate('large', 'a', 3), candidate('middle', 'a', 2)];
    const { asked, dryRun } = dryRuns();
    const plan = await planMoves(vms, loads, dryRun);
    // large: b 88 %, c 63 %, d 63 %; middle: b 75, c 88, d 56; small: b 63, c 75, d 63
    t.same(where(plan), ['large c', 'middle d', 'small b'], 'the largest first');
    t.same(asked, where(plan), 'who is not best is not asked');
    t.match(plan.moves[0]!, {
      from: 'a',
      reason: '63 % full with it, the least of 3 nodes',
      warnings: [{ code: 'version-differs' }],
    });
    t.same(plan.stuck, []);
  },
);

await t.test('of two that come out the same, the one with fewer migrations; then by name', async (t) => {
  const { dryRun } = dryRuns();
  const busy = [load('b', 8, 1, { migrations: 2 }), load('c', 8, 1), load('d', 8, 1)];
  t.same(where(await planMoves([candidate('web', 'a', 1)], busy, dryRun)), ['web c']);
});

await t.test('a target that refuses makes room for the next best', async (t) => {
  const loads = [load('a', 8, 8), load('b', 8, 0), load('c', 8, 1), load('d', 8, 4)];
  const { asked, dryRun } = dryRuns({
    'web b': 'target-has-guest',
    'db b': 'peer-unreachable',
    'web c': 'refused-by-policy',
  });
  const plan = await planMoves(
    [candidate('db', 'a', 2), candidate('web', 'a', 1), candidate('xy', 'a', 1)],
    loads,
    dryRun,
  );
  t.same(where(plan), ['db c', 'web d', 'xy c']);
  t.same(asked, ['db b', 'db c', 'web c', 'web d', 'xy c'], 'a node that is away is not asked again');
  t.equal(plan.moves[1]!.reason, '63 % full with it, the only one left; c refuses: refused-by-policy');
});

await t.test('a VM that can go nowhere has the reason of each node', async (t) => {
  const loads = [
    load('a', 8, 8),
    load('b', 8, 7),
    closed('c', 'node-drained', 'node c is drained'),
    closed('d', 'peer-unreachable', 'gone'),
    load('e', 8, 0),
  ];
  const { asked, dryRun } = dryRuns({ 'web e': 'target-has-guest' });
  const plan = await planMoves([candidate('web', 'a', 2)], loads, dryRun);
  t.same(plan.moves, []);
  t.same(asked, ['web e']);
  t.match(plan.stuck, [
    {
      vm: 'web',
      from: 'a',
      reasons: [
        {
          node: 'b',
          code: 'target-out-of-memory',
          message: /^node b has 1\.0 GiB free .*; 2\.0 GiB are needed$/,
        },
        { node: 'c', code: 'node-drained' },
        { node: 'd', code: 'peer-unreachable', message: 'gone' },
        { node: 'e', code: 'target-has-guest', message: 'e refuses web' },
      ],
    },
  ]);
});

await t.test(
  'no node takes more than it has, nothing goes to where it was or may not, and all is accounted for',
  async (t) => {
    const nodes = ['a', 'b', 'c', 'd', 'e'];
    const node = fc.constantFrom(...nodes);
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ limit: fc.integer({ min: 1, max: 20 }), taken: fc.nat(20), open: fc.boolean() }),
          {
            minLength: 5,
            maxLength: 5,
          },
        ),
        fc.uniqueArray(
          fc.record({
            vm: fc.string({ minLength: 1, maxLength: 3 }),
            from: node,
            gib: fc.integer({ min: 1, max: 6 }),
          }),
          {
            selector: ({ vm }) => vm,
            maxLength: 12,
          },
        ),
        fc.uniqueArray(fc.tuple(fc.nat(11), node), { maxLength: 8 }),
        async (shapes, vms, refusals) => {
          const loads = shapes.map(({ limit, taken, open }, index) => {
            const name = nodes[index]!;
            return open ? load(name, limit, taken) : closed(name, 'node-drained', 'drained');
          });
          const candidates = vms.map(({ vm, from, gib }) => candidate(vm, from, gib));
          const refused = Object.fromEntries(
            refusals.flatMap(([index, to]) =>
              vms[index] ? [[`${vms[index].vm} ${to}`, 'target-has-guest']] : [],
            ),
          );
          const plan = await planMoves(candidates, loads, dryRuns(refused).dryRun);
          const again = await planMoves([...candidates].reverse(), loads, dryRuns(refused).dryRun);
          t.same(again, plan, 'whatever the order in which they are given');
          const known = [...plan.moves, ...plan.stuck].map(({ vm }) => vm).sort();
          t.same(known, vms.map(({ vm }) => vm).sort());
          for (const { vm, from, to } of plan.moves) {
            t.not(to, from);
            t.notOk(refused[`${vm} ${to}`]);
            t.equal(loads.find((each) => each.node === to)!.closed, null);
          }
          for (const { node, limitBytes, takenBytes } of loads) {
            const coming = plan.moves.filter(({ to }) => to === node);
            const bytes = coming.reduce((sum, { memoryBytes }) => sum + memoryBytes, takenBytes);
            t.ok(coming.length === 0 || bytes <= limitBytes);
          }
          for (const { from, reasons } of plan.stuck) {
            t.same(
              reasons.map(({ node }) => node),
              nodes.filter((each) => each !== from),
            );
          }
        },
      ),
      { numRuns: 100, seed: 7 },
    );
  },
);

await t.test('the memory of a node counts what is asked to come and is not there yet', (t) => {
  const loads = nodeLoads(
    report(
      [
        clusterNode('a', { one: 'running', two: 'running', three: 'running' }, { usedGib: 3 }),
        clusterNode('b', { two: 'incoming' }, { usedGib: 1 }),
        clusterNode('c', {}, { drained: true }),
        silentNode('d'),
      ],
      [queued('two', 'a', 'b'), queued('one', 'a', 'b')],
    ),
  );
  t.match(loads, [
    { node: 'a', takenBytes: 3 * GIB, leavingBytes: 2 * GIB, migrations: 2, closed: null },
    { node: 'b', takenBytes: 2 * GIB, leavingBytes: 0, migrations: 2, closed: null },
    { node: 'c', closed: { code: 'node-drained' } },
    { node: 'd', closed: { code: 'peer-unreachable' } },
  ]);
  t.end();
});

await t.test('what of a node is to be moved, what leaves already, what stays and what can not go', (t) => {
  const { status } = clusterNode(
    'a',
    {
      runs: 'running',
      paused: 'paused',
      ended: 'finished',
      defined: 'stopped',
      leaves: { status: 'running', migration: 'm-leaves' },
      asked: { status: 'running', migration: 'm-asked' },
      lost: { status: 'unknown', migration: 'm-lost' },
      odd: { status: 'stray', failure: 'its QEMU hangs' },
      comes: 'incoming',
      broken: { status: 'paused', failure: 'its worker has died' },
    },
    { migrations: [leaving('leaves', 'a', 'b')] },
  );
  const { movable, underWay, stuck, stopped } = nodeGuests(status!);
  t.same(
    movable.map(({ vm }) => vm),
    ['runs', 'paused', 'ended'],
  );
  t.match(underWay, [{ vm: 'leaves', from: 'a', to: 'b', migration: 'm-leaves' }]);
  t.same(stopped, ['defined']);
  t.match(
    stuck.map(({ vm, reasons }) => [vm, reasons[0]!.code, reasons[0]!.message]),
    [
      ['asked', 'wrong-state', /just been asked for/],
      ['lost', 'outcome-unknown', /vmferry vm resolve lost/],
      ['odd', 'wrong-state', /its QEMU hangs/],
      ['comes', 'wrong-state', /just arriving/],
      ['broken', 'guest-failed', /its worker has died: 'vmferry vm stop broken'/],
    ],
  );
  t.end();
});
