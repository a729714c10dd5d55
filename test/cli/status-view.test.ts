import t from 'tap';
import { StatusLines } from '../../scripts/cli/status-lines.js';
import { StatusScreen } from '../../scripts/cli/status-screen.js';
import { type Look, viewOf } from '../../scripts/cli/status-view.js';
import type { ClusterNode, GuestInfo, MigrationInfo } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import {
  copyingReport,
  guestInfo,
  migrationInfo,
  migrationResult,
  nodeInfo,
  roundsOf,
} from '../support/api-samples.js';
import { FakeTerminal } from '../support/api-terminal.js';

const NOW = Date.parse('2026-11-22T22:00:00.000Z');

function report(...migrations: MigrationInfo[]): ClusterNode {
  return reportOf('a', [guestInfo({ migration: migrations[0]?.id ?? null })], ...migrations);
}

function reportOf(node: string, guests: GuestInfo[], ...migrations: MigrationInfo[]): ClusterNode {
  const status = { node: { ...nodeInfo, node }, guests, migrations };
  return { node, url: `https://${node}:7800`, status, error: null };
}

const silent: ClusterNode = {
  ...{ node: 'c', url: 'https://c:7800', status: null },
  error: { code: 'peer-unreachable', message: 'the connection is refused', retryable: true },
};

const looking = (...nodes: ClusterNode[]): Look => ({ nodes, failure: null });

const copying = migrationInfo({
  phase: 'copying',
  progress: { round: 2, pagesDone: 150, pagesTotal: 250, bytesPerSecond: 1000 * PAGE_SIZE },
  copying: copyingReport(roundsOf(1000, 500, 250)),
});
const stalled = migrationInfo({
  phase: 'copying',
  copying: copyingReport(roundsOf(1000, 300, 305, 300, 305)),
});
const waiting = migrationInfo({
  ...{ id: 'a-20261122-0002', vm: 'db-1', phase: 'queued' },
  queue: {
    ...{ migration: 'a-20261122-0002', vm: 'db-1', from: 'a', to: 'b', requestedAt: '', priority: 0 },
    ...{ position: 1, state: 'waiting', overtaken: 0, overtakeLimit: 8 },
    waitsFor: [{ node: 'a', holder: 'a-20261122-0001' }],
  },
});
const ended = migrationInfo({ id: 'a-20261122-0000', phase: 'ended', result: migrationResult() });

const textOf = (look: Look, columns = 100, rows = 40) =>
  viewOf(look, NOW, columns, rows).map(({ text }) => text);

await t.test('a node with migrations that run, wait and have ended', (t) => {
  t.same(textOf(looking(report(ended, waiting, copying))), [
    'node a   vmferry 0.1.0   1 VM   64.0 MiB of 4.0 GiB for VMs in use',
    '',
    'web-1 from a to b   a-20261122-0001',
    '  copying round 2, for 1.50 s',
    '  ██████████████████░░░░░░░░░░░░  60 % of 1000 KiB',
    '  left 1000 KiB   fits 80.0 KiB   link 4.1 MB/s   dirty 2.0 MB/s',
    '  left by round █▄  most 2.0 MiB',
    '  converging, switchover in less than 1 s: a round leaves 50 % of what it copies: about 4 rounds to',
    '    go',
    '',
    'db-1 from a to b   a-20261122-0002',
    '  queued: place 1, waits for a (held by a-20261122-0001)',
    '',
    'vm     kind      status     memory  migration',
    'web-1  embedded  running  64.0 MiB  a-20261122-0000',
    '',
    'ended',
    'web-1 from a to b   a-20261122-0000   completed in 813 ms, downtime 6.5 ms',
  ]);
  t.end();
});

await t.test('of the first round as much is shown as is known of it', (t) => {
  const first = migrationInfo({ phase: 'copying', copying: copyingReport([]) });
  t.match(textOf(looking(report(first))).slice(2, 7), [
    /^web-1 from a to b/,
    /^ {2}copying/,
    /^ {2}░+$/,
    /^ {2}measuring: /,
    '',
  ]);
  t.end();
});

await t.test('a stall stands out', (t) => {
  const strong = viewOf(looking(report(stalled)), NOW, 200, 40).filter((line) => line.strong);
  t.match(strong[2]?.text, /^ {2}stalled: no new minimum of the residual for 3 rounds/);
  t.end();
});

await t.test('several nodes: a migration is shown once, as its source tells it', (t) => {
  const arrived = report(migrationInfo({ role: 'target', phase: 'ended' }));
  t.ok(textOf(looking(arrived)).includes('no migration runs or waits'), 'one that came is not one that runs');
  const there = reportOf('b', [], migrationInfo({ role: 'target', phase: 'copying' }));
  const lines = textOf(looking(there, report(copying)));
  t.match(lines.slice(0, 2), [/^node b {3}.* 0 VMs/, /^node a {3}.* 1 VM /]);
  t.equal(lines.filter((line) => line.includes(copying.id)).length, 2, 'once, and beside its VM');
  t.ok(lines.includes('  copying round 2, for 1.50 s'));
  t.end();
});

await t.test('several nodes: whose VM is whose, who takes none, who does not answer', (t) => {
  const drained = reportOf('b', [guestInfo({ name: 'db-1' })]);
  drained.status!.node.drained = true;
  const later = { ...ended, id: 'b-1', from: 'b', to: 'a', requestedAt: '2026-11-22T21:59:00.000Z' };
  const lines = textOf(
    looking(report({ ...ended, requestedAt: '2026-11-22T21:58:00.000Z' }), drained, silent),
  );
  t.match(lines.slice(0, 3), [
    /^node a .*in use$/,
    /^node b .*in use {3}drained: takes no VMs$/,
    'node c   tells nothing: the connection is refused',
  ]);
  t.match(lines.slice(6, 9), [/^node {2}vm /, /^a {5}web-1 /, /^b {5}db-1 /]);
  drained.status!.migrations.push(later);
  const both = textOf(looking(report({ ...ended, requestedAt: '2026-11-22T21:58:00.000Z' }), drained));
  t.match(
    both.slice(-2),
    [/^web-1 from b to a /, /^web-1 from a to b /],
    'the last comes first, wherever it was',
  );
  t.end();
});

await t.test('what has no room is cut, and said to be more', (t) => {
  const lines = textOf(looking(report(ended, waiting, copying)), 40, 6);
  t.equal(lines.length, 6);
  t.ok(lines.every((line) => line.length < 40));
  t.match(lines[0], /^node a {3}vmferry 0\.1\.0 {3}1 VM {3}64\.0 M…$/);
  t.match(lines[5], /^… \d+ more lines$/);
  t.end();
});

await t.test('an agent that is gone, in its own words but no control characters', (t) => {
  const failure = { reason: 'refused \u001b[2Jby it', since: NOW - 5000 };
  const [, line] = textOf({ nodes: [report()], failure });
  t.equal(line, 'no answer for 5.00 s, what follows is from before: refused ?[2Jby it');
  t.end();
});

await t.test('a terminal: in one piece, what is the same not again, after a change of its size anew', (t) => {
  const { stdout } = new FakeTerminal();
  Object.assign(stdout, { columns: 100, rows: 30 });
  const written = () => (stdout.read() as Buffer | null)?.toString() ?? '';
  const screen = new StatusScreen(stdout, () => NOW);
  t.equal(written(), '\u001b[?1049h\u001b[?25l');
  screen.show(looking(report()));
  const frame = written();
  t.ok(frame.startsWith('\u001b[?2026h\u001b[H\u001b[1mnode a') && frame.endsWith('\u001b[J\u001b[?2026l'));
  t.notMatch(frame, '\u001b[2J', 'nothing is cleared first');
  screen.show(looking(report()));
  t.equal(written(), '');
  Object.assign(stdout, { columns: 20 });
  stdout.emit('resize');
  t.match(written(), /node a {3}vmferry 0…/);
  screen.stop();
  t.equal(written(), '\u001b[?25h\u001b[?1049l');
  t.equal(stdout.listenerCount('resize'), 0);
  t.end();
});

await t.test('plain lines: of an end that its target alone tells', (t) => {
  const lines: string[] = [];
  const display = new StatusLines((line) => lines.push(line.slice(line.indexOf(' ') + 1)));
  const id = { id: copying.id };
  const arriving = (phase: MigrationInfo['phase']) =>
    reportOf('b', [], migrationInfo({ ...id, role: 'target', phase }));
  const told = reportOf('a', [], { ...ended, ...id });
  display.show(looking(arriving('ended')));
  t.same(lines, ['agent: answers', 'node b: answers'], 'nothing was heard of it before');
  display.show(looking(arriving('copying')));
  display.show(looking(arriving('ended')));
  display.show(looking(told, arriving('ended')));
  display.show(looking(arriving('ended')));
  display.show(looking(told, arriving('ended')));
  display.stop();
  t.same(lines.slice(2), [
    'migration a-20261122-0001: web-1 from a to b; copying, arriving at b',
    'migration a-20261122-0001: web-1 from a to b; ended, as node a knows',
    'node a: answers',
    'migration a-20261122-0001: web-1 from a to b; completed in 813 ms, downtime 6.5 ms',
  ]);
  t.end();
});

await t.test('plain lines: one for each change', (t) => {
  const lines: string[] = [];
  let now = NOW;
  const display = new StatusLines(
    (line) => lines.push(line.slice(line.indexOf(' ') + 1)),
    () => now,
  );
  display.show(looking(report(copying)));
  display.show(looking(report(copying)));
  display.show({ nodes: [report(copying)], failure: { reason: 'it is gone', since: now } });
  display.show(looking(report(stalled)));
  now += 2000;
  display.show(looking(report(stalled)));
  display.show(looking(reportOf('a', [], { ...ended, id: copying.id }), reportOf('c', [guestInfo()])));
  display.show(looking(reportOf('a', [], { ...ended, id: copying.id }), silent));
  display.show(looking(reportOf('a', [], { ...ended, id: copying.id }), reportOf('c', [guestInfo()])));
  display.stop();
  t.same(lines, [
    'agent: answers',
    'node a: answers',
    'node a: VM web-1: running',
    'migration a-20261122-0001: web-1 from a to b; copying round 2, for 1.50 s; ' +
      'left 1000 KiB, fits 80.0 KiB, link 4.1 MB/s, dirty 2.0 MB/s; ' +
      'converging, switchover in less than 1 s: a round leaves 50 % of what it copies: about 4 rounds to go',
    'agent: no answer: it is gone',
    'agent: answers',
    'migration a-20261122-0001: web-1 from a to b; copying round 4, for 1.91 s; ' +
      'left 1.2 MiB, fits 80.0 KiB, link 4.1 MB/s, dirty 4.2 MB/s; stalled: no new minimum of the residual for 3 rounds, ' +
      '1.2 MiB left; after 2 more it switches over all the same, for about 305 ms of downtime',
    'node a: VM web-1: gone',
    'node c: answers',
    'node c: VM web-1: running',
    'migration a-20261122-0001: web-1 from a to b; completed in 813 ms, downtime 6.5 ms',
    'node c: tells nothing: the connection is refused',
    'node c: answers',
  ]);
  t.end();
});
