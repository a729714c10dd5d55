import t from 'tap';
import { benchReport, checkMoves } from './bench-lab.js';

const MIB = 2 ** 20;
const FILLED = 24 * MIB;

await t.test('bench scale: moves and harvests of guests of two sizes', async (t) => {
  const sizes = ['--memory', '128MiB,160MiB', '--populated', '96MiB'];
  const { series, harvests } = await benchReport(t, 'scale', ...sizes, '--runs', '1', '--accel', 'tcg');
  t.same(
    series.map(({ memoryBytes }) => memoryBytes / MIB),
    [128, 160],
  );
  for (const each of series) checkMoves(t, each, FILLED);
  t.same(
    harvests.map(({ guest }) => guest),
    series.map(({ guest }) => guest),
  );
  for (const { writeLog, runs, populatedBytes } of harvests) {
    t.match(writeLog, /^(userfaultfd|soft-dirty|hash)$/);
    t.ok(populatedBytes >= FILLED);
    t.ok(runs.length > 0 && runs.every((ms) => ms > 0));
  }
});
