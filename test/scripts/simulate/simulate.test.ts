import t from 'tap';
import { quickScenario, type QuickOptions } from '../../../scripts/simulate/quick-scenario.js';
import { simulate } from '../../../scripts/simulate/simulate.js';
import { simulationSections, verdicts } from '../../../scripts/simulate/simulation-sections.js';

const QUICK: QuickOptions = {
  nodes: 8,
  link: '10gbit',
  guests: 4,
  memory: '4GiB',
  writes: '1GiB@100MB',
  moves: 'drain:2',
};

void t.test(
  'a drain takes no less time where guests share the link, and guests that write a lot do not converge',
  (t) => {
    const report = simulate({ ...quickScenario(QUICK), atOnce: [1, 4] }, [0, 0.5]);
    const [one, same, four] = report.policies;
    t.match(one, { atOnce: null, migrations: 8, notConverged: 0, notMoved: 0, mostPerNode: 1 });
    t.match(same, { atOnce: 1, totalMs: one!.totalMs, wireBytes: one!.wireBytes }, 'nothing overtakes here');
    t.match(four, { mostPerNode: 4, migrations: 8 });
    t.ok(four!.totalMs > one!.totalMs && four!.wireBytes > one!.wireBytes);
    const [idle, busy] = report.sweep;
    t.equal(idle?.policies[0]?.wireBytes, 8 * 2 ** 32);
    t.match(
      busy?.policies.map(({ notConverged }) => notConverged),
      [0, 0, 8],
    );
    t.same(simulate(report.scenario, [0, 0.5]), report, 'the same for the same scenario');
    t.end();
  },
);

void t.test('when one at a time is right, and by how much', (t) => {
  const report = simulate({ ...quickScenario({ ...QUICK, moves: 'pairs:24' }), atOnce: [4] }, [0, 0.2, 0.6]);
  t.match(verdicts(report.sweep), [
    /^4 at once: less time than one at a time up to writes at 0\.[02]0 of the link, 0\.\d\d of it at best;.* from 0\.60 on migrations do not converge \(\d/,
  ]);
  const [asTheyAre, swept] = simulationSections({ command: '', ...report });
  t.match(asTheyAre?.table.rows, [['one at a time'], ['4 at once']]);
  t.match(swept?.table.rows, [['0.00'], ['0.20'], ['0.60', /./, / \(\d/]]);
  const [total] = swept!.figures;
  t.match(total?.plot, {
    kind: 'lines',
    lines: [{ medians: [{ x: 0, y: 1 }, { y: 1 }, { y: 1 }] }, { name: '4 at once', crosses: [0] }],
  });
  t.end();
});

void t.test('ten thousand nodes', (t) => {
  const scenario = quickScenario({ ...QUICK, nodes: 10_000, guests: 2, moves: 'pairs:6000' });
  const { policies } = simulate({ ...scenario, atOnce: [2] }, []);
  t.match(policies, [
    { migrations: 6000, mostPerNode: 1 },
    { migrations: 6000, mostPerNode: 2 },
  ]);
  t.end();
});
