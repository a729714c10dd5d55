import t from 'tap';
import type { ConcurrentRun, Move, MoveSeries } from '../../../scripts/bench/bench-report.js';
import { concurrentTable } from '../../../scripts/bench/concurrent-table.js';
import { median } from '../../../scripts/bench/median.js';
import { groupsOf, linkRatio, moveTables, standingOf } from '../../../scripts/bench/move-table.js';
import { spreadOf, spreadText } from '../../../scripts/bench/spread.js';

function move(totalMs: number, downtimeMs: number, more: Partial<Move> = {}): Move {
  return {
    ...{ totalMs, copyMs: totalMs - 10, downtimeMs, downtimeParts: {}, stoppedAfterMs: totalMs - downtimeMs },
    ...{ populatedBytes: 1e8, wireBytes: 1.1e8, roundCount: 2, rounds: [], convergence: 'below-threshold' },
    ...{ cpuMs: { source: 20, target: 30 }, workPerSecond: null, intact: true },
    ...more,
  };
}

function series(mover: string, runs: Move[], linkBytesPerSecond: number | null = null): MoveSeries {
  const guest = { guest: 'qemu 1.0 GiB', memoryBytes: 2 ** 30, workload: 'idle' };
  return { mover, ...guest, linkBytesPerSecond, runs };
}

const GROUP = [
  series('vmferry', [move(100, 5), move(300, 7), move(110, 6)]),
  series('QEMU precopy', [move(440, 12), move(400, 12)]),
  series('QEMU multifd 4', [move(220, 24)]),
  series('QEMU precopy, private RAM', [move(1, 1)]),
];

void t.test('the middle and the ends', (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1]), 2.5);
  t.ok(Number.isNaN(median([])));
  t.equal(spreadText(spreadOf([1, 3, 2])), '2.0 (1.0 to 3.0)');
  t.equal(spreadText(spreadOf([999, 1001])), '1000 (999 to 1001)');
  t.end();
});

void t.test(
  "vmferry's standing is to the best of QEMU's ways, each figure by itself, without private RAM",
  (t) => {
    t.same(standingOf(GROUP), { total: 0.5, downtime: 0.5 });
    t.equal(standingOf(GROUP.slice(0, 1)), null);
    t.equal(standingOf(GROUP.slice(1)), null);
    t.end();
  },
);

void t.test('a capped link is what the total is measured by', (t) => {
  const group = [
    series('vmferry', [move(1020, 5)], 1e8),
    series('QEMU precopy', [move(1200, 5, { populatedBytes: 2e8 })], 1e8),
  ];
  t.equal(linkRatio(group[0]!, group), 1.02);
  t.equal(linkRatio(group[1]!, group), 1.2, 'by the same populated bytes');
  t.equal(linkRatio(GROUP[0]!, GROUP), null);
  t.same(
    groupsOf([...GROUP, ...group]).map((each) => each.length),
    [4, 2],
  );
  t.end();
});

void t.test('tables tell medians, spreads, crashes and work', (t) => {
  const worked = { workPerSecond: { before: 100, during: 50, after: 90 } };
  const text = moveTables([
    series('vmferry', [move(100, 5, worked)]),
    series('QEMU precopy', [move(200, 10, { intact: false })]),
  ]);
  t.match(text, /vmferry +100\.0 \(100\.0 to 100\.0\) .*intact/);
  t.match(text, /QEMU precopy .*crashed in 1 of 1/);
  t.match(text, /0\.50 +0\.90/);
  t.match(text, /vmferry to the best of QEMU's ways: total 0\.50, downtime 0\.50/);
  t.end();
});

void t.test('those at once stand to those one after the other', (t) => {
  const run = (totalMs: number, downtimesMs: number[], convergenceFailures = 0): ConcurrentRun => ({
    ...{ totalMs, wireBytes: totalMs * 1000, downtimesMs, convergenceFailures },
  });
  const what = { guests: 2, workload: 'idle' };
  const text = concurrentTable([
    { ...what, order: 'sequential', runs: [run(100, [5, 5])] },
    { ...what, order: 'at once', runs: [run(150, [10, 20], 1)] },
  ]);
  t.match(text, /2 +idle +at once +150\.0 .* 1 of 2/);
  t.match(text, /total 1\.50, sent 1\.50, sum of downtimes 3\.00, longest 4\.00/);
  t.end();
});
