import t from 'tap';
import type { Move, MoveSeries } from '../../../scripts/bench/bench-report.js';
import { migrationPicks } from '../../../scripts/bench/report/migration-picks.js';
import { compareSample } from '../../support/bench-samples.js';

const round = {
  zeroPages: 0,
  bytes: 2 ** 20,
  wireBytes: 2 ** 20,
  bytesPerSecond: 1e8,
  dirtyPagesPerSecond: 1000,
};

/** Two rounds while the guest runs, 40 ms after the request; one in a switchover of 5 ms. */
const MOVE: Move = {
  totalMs: 115,
  copyMs: 75,
  downtimeMs: 5,
  downtimeParts: { pause: 1, residual: 3 },
  stoppedAfterMs: 110,
  populatedBytes: 2 ** 20,
  wireBytes: 2 ** 21,
  roundCount: 3,
  rounds: [
    { ...round, round: 0, pages: 256, ms: 50, residualPages: 64 },
    { ...round, round: 1, pages: 64, ms: 10, residualPages: 16 },
    { ...round, round: 2, pages: 16, ms: 2, residualPages: 0, dirtyPagesPerSecond: 0 },
  ],
  convergence: 'below-threshold',
  cpuMs: { source: 1, target: 1 },
  workPerSecond: null,
  intact: true,
};

function series(runs: readonly Move[]): MoveSeries {
  return {
    mover: 'vmferry',
    guest: 'qemu 1.0 GiB',
    memoryBytes: 2 ** 30,
    workload: 'idle',
    linkBytesPerSecond: 125e6,
    runs,
  };
}

await t.test('what tells no rounds is not to be picked', (t) => {
  const picks = migrationPicks(compareSample().series);
  t.same(
    picks.map(({ name }) => name),
    [
      'vmferry, qemu 1.0 GiB, idle, link without a cap',
      'vmferry, qemu 1.0 GiB, rewrite 8.0 MiB, link without a cap',
      'vmferry, qemu 1.0 GiB, rewrite 8.0 MiB, 1 Gbit/s',
    ],
  );
  t.end();
});

await t.test('the run of the median total is first to be shown', (t) => {
  const runs = [300, 100, 150].map((totalMs) => ({ ...MOVE, totalMs }));
  const [pick] = migrationPicks([series([...runs, { ...MOVE, rounds: [] }])]);
  t.equal(pick?.first, 2);
  t.same(
    pick?.runs.map(({ name }) => name),
    [
      'run 1 of 4: total 300 ms, downtime 5.0 ms, rounds ended: below-threshold',
      'run 2 of 4: total 100 ms, downtime 5.0 ms, rounds ended: below-threshold',
      'run 3 of 4 (median): total 150 ms, downtime 5.0 ms, rounds ended: below-threshold',
    ],
  );
  t.end();
});

await t.test('rounds, time line and the parts of the downtime', (t) => {
  const [pick] = migrationPicks([series([MOVE])]);
  const [run] = pick?.runs ?? [];
  const [sent, left, written, timeline, switchover] = run?.plots ?? [];
  t.match(sent, {
    axis: 'sent, MiB',
    columns: [{ label: '0', value: 1, tone: 'main' }, {}, { tone: 'mark' }],
  });
  t.match(left, { axis: 'left, KiB', columns: [{ value: 256 }, { value: 64 }, { value: 0 }] });
  t.match(written, { axis: 'written, MB/s', columns: [{ value: 4.096 }, { value: 4.096 }, { value: 0 }] });
  t.match(timeline, {
    axis: 'time since the request, ms',
    spans: [
      { lane: 0, from: 0, to: 40, name: 'preparation' },
      { lane: 1, from: 40, to: 90, name: 'round 0' },
      { lane: 1, from: 90, to: 100, name: 'round 1' },
      { lane: 2, from: 110, to: 115, name: 'switchover', tone: 'mark' },
    ],
    mark: { at: 110 },
  });
  t.match(switchover, {
    axis: 'time since the pause at 110 ms, ms',
    spans: [
      { lane: 0, from: 0, to: 1, name: 'pause' },
      { lane: 1, from: 1, to: 4, name: 'residual' },
      { lane: 2, from: 4, to: 5, name: 'other' },
    ],
  });
  t.same(run?.tables, [
    [
      ['0', '40.0 ms', '50.0 ms', '1.0 MiB', '100.0 MB/s', '0', '4.1 MB/s', '256 KiB'],
      ['1', '90.0 ms', '10.0 ms', '1.0 MiB', '100.0 MB/s', '0', '4.1 MB/s', '64.0 KiB'],
      ['2, paused', '110 ms', '2.0 ms', '1.0 MiB', '100.0 MB/s', '0', '–', '0 B'],
    ],
    [
      ['pause', '0.0 ms', '1.0 ms'],
      ['residual', '1.0 ms', '3.0 ms'],
      ['other', '4.0 ms', '1.0 ms'],
    ],
  ]);
  t.end();
});

await t.test('that the guest crashed is told', (t) => {
  const [pick] = migrationPicks([series([{ ...MOVE, intact: false }])]);
  t.match(pick?.runs[0]?.name, /, the guest crashed$/);
  t.end();
});

await t.test('a downtime whose parts are not known is one', (t) => {
  const [pick] = migrationPicks([series([{ ...MOVE, downtimeParts: {}, convergence: '' }])]);
  t.same(pick?.runs[0]?.tables[1], [['downtime', '0.0 ms', '5.0 ms']]);
  t.equal(pick?.runs[0]?.name, 'run 1 of 1 (median): total 115 ms, downtime 5.0 ms');
  t.end();
});
