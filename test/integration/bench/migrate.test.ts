import { once } from 'node:events';
import t from 'tap';
import { vmferry } from '../../support/agent-lab.js';
import { runCommand } from '../../support/api-terminal.js';
import { benchReport, checkMoves, remains } from './bench-lab.js';

const MIB = 2 ** 20;
const GUEST = ['--guest', 'embedded', '--memory', '16MiB', '--populated', '8MiB', '--runs', '1'];

await t.test('bench migrate: embedded guests', async (t) => {
  const workloads = ['--workload', 'idle,rewrite:1MiB,rewrite:2MiB@4MB'];
  const { series, link } = await benchReport(t, 'migrate', ...GUEST, ...workloads);
  t.match(link, { kind: 'loopback', bytesPerSecond: null });
  t.same(
    series.map(({ mover, guest, workload }) => [mover, guest, workload]),
    ['idle', 'rewrite 1.0 MiB', 'rewrite 2.0 MiB at 4.0 MB/s'].map((workload) => [
      'vmferry',
      'embedded 16.0 MiB',
      workload,
    ]),
  );
  for (const [index, leastBytes] of [1, 8 * MIB, 2 * MIB].entries())
    checkMoves(t, series[index]!, leastBytes);
  t.ok(series.every(({ runs }) => runs.every(({ rounds }) => rounds.length > 0)));
});

await t.test('bench concurrent: in a lab, on a capped link', async (t) => {
  const options = ['--workload', 'rewrite:2MiB@4MB', '--guests', '2', '--lab', '--link', '1gbit'];
  const { series, link } = await benchReport(t, 'concurrent', ...GUEST, ...options);
  t.match(link, { kind: 'lab', bytesPerSecond: 125e6 });
  t.same(
    series.map(({ guests, order }) => [guests, order]),
    [
      [2, 'sequential'],
      [2, 'at once'],
    ],
  );
  for (const { runs } of series) {
    t.equal(runs.length, 1);
    for (const { totalMs, wireBytes, downtimesMs, convergenceFailures } of runs) {
      t.equal(downtimesMs.length, 2);
      t.ok(totalMs > Math.max(...downtimesMs));
      t.ok(wireBytes >= 2 * 2 * MIB);
      t.ok(convergenceFailures <= 2);
    }
  }
});

await t.test('a benchmark that is ended, or killed, leaves nothing', async (t) => {
  const start = () => {
    const many = [...GUEST, '--workload', 'idle', '--lab', '--runs', '1000'];
    const run = vmferry('http://127.0.0.1:1', ['bench', 'migrate', ...many]);
    // Its first line is that of the first run: all is there by then.
    return { ...run, working: once(run.child.stdout, 'data') };
  };
  const ended = start();
  await ended.working;
  ended.child.kill('SIGINT');
  const { exitCode } = await ended.ended;
  t.equal(exitCode, 4);
  t.same(await remains(ended.child.pid!), []);

  const killed = start();
  await killed.working;
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');
  t.not((await remains(killed.child.pid!)).length, 0);
  await benchReport(t, 'migrate', ...GUEST, '--workload', 'idle', '--lab');
  t.same(await remains(killed.child.pid!), [], 'the next one removes it');
});

await t.test('what a benchmark can not do', async (t) => {
  for (const [options, words] of [
    [
      [
        'migrate',
        '--link',
        '1gbit',
        '--guest',
        'embedded',
        '--workload',
        'idle',
        ...['--memory', '16MiB', '--populated', '8MiB'],
      ],
      /add --lab/,
    ],
    [['migrate', '--workload', 'sleep'], /the workload 'sleep' is not understood/],
    [
      ['migrate', '--guest', 'embedded', '--workload', 'read', '--memory', '16MiB', '--populated', '8MiB'],
      /use --guest qemu/,
    ],
    [['migrate', '--guest', 'vax'], /there is no kind 'vax'/],
    [['migrate', '--agents', 'http://127.0.0.1:1'], /two URLs/],
    [['compare', '--methods', 'teleport'], /QEMU has no 'teleport'/],
    [['compare', '--memory', '64MiB', '--populated', '48MiB'], /no room/],
    [['concurrent', '--runs', '0'], /--runs/],
    [['concurrent', '--guests', ''], /--guests: it names nothing/],
    [['scale', '--memory', ''], /--memory: it names nothing/],
    [['migrate', '--workload', 'rewrite:8XB'], /the workload 'rewrite:8XB': size '8XB'/],
    [['link', '--size', '2GiB'], /--size is not valid/],
    [['link', '--streams', 'many'], /--streams is not valid/],
    [['link', '--rounds', '1'], /--rounds is not valid/],
    [['link', '--bandwidth', '1kbit'], /--bandwidth is not valid: it must be 0 .* or at least 8000/],
    [['link', '--agents', 'nonsense,http://127.0.0.1:1'], /'nonsense' must be a URL/],
  ] as const) {
    const { exitCode, stderr } = await runCommand(['bench', ...options]);
    t.equal(exitCode, 2, stderr);
    t.match(stderr, words);
  }
});
