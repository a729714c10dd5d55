import t from 'tap';
import { timeOf } from '../../scripts/cli/history-commands.js';
import { drawMigration } from '../../scripts/cli/migration-drawing.js';
import { EXIT, type HistoryEntry } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { copyingReport, migrationInfo, migrationResult, roundsOf } from '../support/api-samples.js';
import { listeningServer } from '../support/api-server.js';
import { FakeTerminal, runCommand } from '../support/api-terminal.js';

const service = new FakeAgentService();
const { app, url } = await listeningServer(service);
t.teardown(() => app.close());
const run = (...args: string[]) => runCommand([...args, '--agent', url]);

/** One that ended `hours` ago. */
function entry(id: string, vm: string, outcome: HistoryEntry['outcome'], hours: number): HistoryEntry {
  const { from, to, totalMs, queuedMs, downtimeMs, wireBytes } = migrationResult();
  const endedAt = new Date(Date.now() - hours * 3_600_000).toISOString();
  const error = outcome === 'failed' ? new MigrationError('link-lost', 'the link was lost').toJSON() : null;
  return {
    ...{ id, vm, from, to, outcome, error, totalMs, queuedMs, wireBytes, endedAt, requestedAt: endedAt },
    ...{ rounds: 2, downtimeMs: outcome === 'completed' ? downtimeMs : 0 },
  };
}

service.past = [
  entry('m-3', 'web', 'completed', 1),
  entry('m-2', 'db', 'failed', 30),
  entry('m-1', 'web', 'cancelled', 100),
];

await t.test('history: filters, the latest first', async (t) => {
  const ids = async (...args: string[]) => {
    const { exitCode, stdout } = await run('history', '--json', ...args);
    t.equal(exitCode, EXIT.done);
    return (JSON.parse(stdout) as HistoryEntry[]).map(({ id }) => id);
  };
  t.same(await ids(), ['m-3', 'm-2', 'm-1']);
  t.same(await ids('--vm', 'web'), ['m-3', 'm-1']);
  t.same(await ids('--outcome', 'failed'), ['m-2']);
  t.same(await ids('--since', '2d'), ['m-3', 'm-2']);
  t.same(await ids('--since', '2d', '--vm', 'web'), ['m-3']);
  t.same(await ids('--limit', '1'), ['m-3']);
  t.same(await ids('--limit', '0'), ['m-3', 'm-2', 'm-1']);
});

await t.test('history: a table, and a word on what it leaves out', async (t) => {
  const { stdout, stderr } = await run('history', '--limit', '2');
  const [heading, first, second] = stdout.split('\n');
  t.match(
    heading,
    /^ended at +migration +vm +from +to +outcome +time +queued +downtime +rounds +sent +error$/,
  );
  t.match(first, /m-3 +web +a +b +completed +813 ms +0\.0 ms +6\.5 ms +2 +39\.9 MiB$/);
  t.match(second, /m-2 +db +a +b +failed +813 ms +0\.0 ms +2 +39\.9 MiB +link-lost$/);
  t.equal(stderr, 'vmferry: 1 more, earlier: see them with --limit\n');
  t.equal((await run('history', '--vm', 'nobody')).stdout, 'no such migration from this node has ended\n');
});

await t.test('history: what is wrong is said', async (t) => {
  for (const [args, words] of [
    [['--since', 'yesterday'], /--since 'yesterday' is not understood: write it like 30min, 12h or 7d/],
    [['--since', '2026-99-01'], /--since '2026-99-01' is not understood/],
    [['--limit', '-1'], /--limit: -1 is no count/],
    [['--limit', 'many'], /--limit: NaN is no count/],
    [['--outcome', 'fine'], /outcome.*"fine".*completed/s],
  ] as const) {
    const { exitCode, stdout, stderr } = await run('history', ...args);
    t.equal(exitCode, EXIT.usage, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, words);
  }
  t.equal(timeOf('2026-11-22T08:00Z', 0), Date.UTC(2026, 10, 22, 8));
  t.equal(timeOf('2h', 10_000_000), 2_800_000);
});

await t.test('show: the rounds and the switchover of one that has ended', async (t) => {
  const streams = {
    ...({ transport: 'tcp', open: 4, used: 2, reason: 'two carry more' } as const),
    tried: [
      { streams: 1, bytesPerSecond: 1e9 },
      { streams: 2, bytesPerSecond: 1.5e9 },
    ],
  };
  const verify = { mode: 'after', pagesChecked: 16_384, mismatches: 0 } as const;
  service.current = migrationInfo({ phase: 'ended', result: migrationResult({ streams, verify }) });
  const { exitCode, stdout } = await run('show', service.current.id);
  t.equal(exitCode, EXIT.done);
  t.same(stdout.split('\n'), [
    'web-1 moved from a to b in 813 ms (migration a-20261122-0001)',
    'asked for at 2026-11-22T22:00:00.000Z',
    '',
    'round  pages  zero    copied     time   link rate  dirty rate     left',
    '    0  16384  6384  39.1 MiB  40.0 ms   1.02 GB/s   20.5 MB/s  800 KiB  ████████████████████████████',
    '    1    200     0   800 KiB   2.0 ms  410.0 MB/s    0.0 kB/s      0 B  ▍ (paused)',
    '',
    'downtime 6.5 ms, from 2026-01-01T00:00:00.000Z on',
    '  pause     0.5 ms  ███',
    '  residual  2.0 ms     ████████████',
    '  state     1.0 ms                 ███████',
    '  load      1.0 ms                        ██████',
    '  resume    2.0 ms                              ████████████',
    '',
    'rounds ended: below-threshold, so: switch-over (28.6 MiB fit the downtime limit)',
    'page streams: 2 of 4 over tcp; two carry more (tried 1: 1.00 GB/s, 2: 1.50 GB/s)',
    'sent 39.9 MiB for 64.0 MiB in use of 64.0 MiB; write-log: store-path, the machine marks each page that it stores to',
    'verified (after): 16384 pages compared, 0 differ',
    '',
  ]);
  const json = await run('show', service.current.id, '--json');
  t.same(JSON.parse(json.stdout), service.current);
  t.match(await run('show', 'm-00000000'), { exitCode: EXIT.refused, stderr: /'m-00000000' is not known/ });
});

await t.test('show: one that failed before its first page', (t) => {
  const error = new MigrationError('peer-unreachable', 'node b cannot be reached').toJSON();
  const result = migrationResult({
    ...{
      outcome: 'failed',
      error,
      rounds: [],
      downtimeMs: 0,
      switchover: null,
      convergence: null,
      streams: null,
    },
  });
  t.equal(
    drawMigration(migrationInfo({ phase: 'ended', result }), 100),
    'migration a-20261122-0001 of web-1 to b failed: web-1 is on a as before\n' +
      'asked for at 2026-11-22T22:00:00.000Z\n' +
      'error: node b cannot be reached (peer-unreachable)',
  );
  t.end();
});

await t.test('show: one that runs, with rounds that are not kept, and a forecast', (t) => {
  const [first, second, third] = roundsOf(1000, 500, 250, 125);
  const copying = copyingReport([first!, third!]);
  t.same(drawMigration(migrationInfo({ phase: 'copying', copying }), 80).split('\n'), [
    'migration a-20261122-0001: web-1 from a to b, asked for at 2026-11-22T22:00:00.000Z',
    'copying round 3, for 1.25 s',
    'converging, switchover in less than 1 s: a round leaves 50 % of what it copies: about 3 rounds to go',
    '',
    'round  pages  zero    copied    time  link rate  dirty rate     left',
    '    0   1000     0   3.9 MiB  1.00 s   4.1 MB/s    2.0 MB/s  2.0 MiB  ██████████',
    '    …',
    '    2    250     0  1000 KiB  250 ms   4.1 MB/s    2.0 MB/s  500 KiB  ██▌',
  ]);
  t.equal(second?.round, 1, 'the one that is left out');
  t.end();
});

await t.test('status --watch: the screen of a terminal, until Ctrl-C', async (t) => {
  service.current = migrationInfo({ phase: 'copying', copying: copyingReport(roundsOf(1000, 500)) });
  const terminal = new FakeTerminal();
  Object.assign(terminal.stdout, { isTTY: true, columns: 100, rows: 30 });
  const ended = runCommand(['status', '--watch', '--interval', '100ms', '--agent', url], terminal);
  // The first chunk opens the screen, the second one is a frame.
  await new Promise((resolve) => terminal.stdout.once('readable', resolve));
  terminal.interrupt();
  const { exitCode, stdout } = await ended;
  t.equal(exitCode, EXIT.done);
  t.match(stdout, /converging, switchover in less than 1 s/);
  t.ok(stdout.endsWith('\u001b[?25h\u001b[?1049l'), 'the terminal is left as it was');
});

await t.test('status --watch: what it can not do', async (t) => {
  t.match(await run('status', '--watch', '--json'), {
    exitCode: EXIT.usage,
    stderr: /use it without --watch/,
  });
  t.match(await run('status', '--local'), { exitCode: EXIT.usage, stderr: /--local is for --watch/ });
  t.match(await run('status', '--watch', '--interval', '1ms'), { exitCode: EXIT.usage, stderr: /the least/ });
  const gone = await runCommand(['status', '--watch', '--agent', 'unix:/nowhere']);
  t.match(gone, { exitCode: EXIT.failed, stdout: '', stderr: /no such socket/ });
});
