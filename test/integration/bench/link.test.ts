import t from 'tap';
import { benchReport } from './bench-lab.js';

const SMALL = ['--size', '16MiB', '--rounds', '2', '--runs', '1'];

await t.test(
  'bench link: both kinds of memory beside iperf3, on a link without a cap and on one with',
  async (t) => {
    const { series, host, link } = await benchReport(t, 'link', ...SMALL, '--lab', '--link', 'none,1gbit');
    t.match(host.versions, { iperf3: /^\d/ });
    t.match(link, { kind: 'lab', bytesPerSecond: null });
    const contenders = ['vmferry, embedded', 'vmferry, qemu', 'iperf3, default block', 'iperf3, 1 MiB block'];
    t.same(
      series.map(({ name, linkBytesPerSecond }) => [name, linkBytesPerSecond]),
      [null, 125e6].flatMap((rate) => contenders.map((name) => [name, rate])),
    );
    for (const { name, runs } of series) {
      t.equal(runs.length, 1, name);
      t.ok(
        runs.every((rate) => rate > 0),
        name,
      );
    }
  },
);
