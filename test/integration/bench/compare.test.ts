import t from 'tap';
import { benchReport, checkMoves } from './bench-lab.js';

const MIB = 2 ** 20;

/** What the guest fills of it beside its kernel. */
const FILLED = 24 * MIB;
const GUEST = ['--memory', '128MiB', '--populated', '96MiB', '--runs', '1', '--accel', 'tcg'];

await t.test('bench compare: in a lab, with guests that work', async (t) => {
  const options = ['--workload', 'rewrite:1MiB@2MB', '--methods', 'precopy', '--lab'];
  const { series, host, link } = await benchReport(t, 'compare', ...GUEST, ...options);
  t.match(host.versions, { qemu: /^\d/ });
  t.match(link, { kind: 'lab', bytesPerSecond: null });
  t.same(
    series.map(({ mover }) => mover),
    ['vmferry', 'QEMU precopy'],
  );
  for (const each of series) checkMoves(t, each, FILLED);
  const [vmferry] = series[0]!.runs;
  t.ok(vmferry?.workPerSecond && Object.values(vmferry.workPerSecond).every((rate) => rate > 0));
});
