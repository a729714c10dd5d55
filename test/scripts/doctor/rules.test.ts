import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { clockFinding, compareClocks } from '../../../scripts/doctor/clock-rules.js';
import { clusterFindings } from '../../../scripts/doctor/cluster-rules.js';
import { readClock } from '../../../scripts/doctor/examine-cluster.js';
import type { ExaminedNode, MeasuredLink } from '../../../scripts/doctor/examination.js';
import { linkFindings } from '../../../scripts/doctor/link-rules.js';
import { nodeFindings } from '../../../scripts/doctor/node-rules.js';
import { isPair, pairFindings } from '../../../scripts/doctor/pair-rules.js';
import type { PeerPath, PeerReport } from '../../../shared/api/doctor.js';
import { examined, gone, PATH, peer, summary } from './samples.js';

void t.test('clocks beside the one in their middle', (t) => {
  const clocks = (...ahead: number[]) =>
    compareClocks(ahead.map((aheadMs, index) => ({ node: 'abcd'[index]!, clock: { aheadMs, boundMs: 2 } })));
  const levels = (...ahead: number[]) => {
    const compared = clocks(...ahead);
    return compared
      .map(({ node }) => node)
      .sort()
      .map((node) => clockFinding(node, compared)?.level);
  };
  t.same(levels(7000, 7100, 7200), ['ok', 'ok', 'ok'], 'where the clock of this host is off, no other is');
  t.same(levels(0, 100, -3000, 50), ['ok', 'ok', 'warning', 'ok']);
  const ahead = clocks(0, 90_010, 10);
  t.match(clockFinding('b', ahead), {
    code: 'clock-offset',
    message: /90\.00 s ahead of the others' \(± 4\.0 ms\): .* too late/,
    remedy: /chrony/,
  });
  t.match(clockFinding('b', clocks(0, 700)), { message: /700(\.0)? ms ahead of that of node a / });
  t.same(levels(0, 503), ['ok', 'ok'], 'what the time of the questions may have made is no fault');
  t.same(levels(0), [undefined], 'one alone is not compared');
  t.same(compareClocks([{ node: 'a', clock: null }]), []);
  t.equal(clockFinding('b', clocks(0)), null);
  t.end();
});

void t.test('a clock is read between question and answer, and the quickest answer counts', async (t) => {
  const times = [0, 80, 1000, 1010, 2000, 2100, 3000, 3300];
  // The clock is 5 s ahead, and told at the end of each answer.
  const told = [80, 1010, 2100, 3300].map((at) => new Date(at + 5000).toISOString());
  const clock = await readClock(
    () => Promise.resolve(told.shift()!),
    () => times.shift()!,
  );
  t.equal(clock?.boundMs, 5.5);
  t.ok(Math.abs(clock!.aheadMs - 5000) <= clock!.boundMs, `${clock?.aheadMs}`);
  t.equal(await readClock(() => Promise.resolve('noon')), null, 'an agent that does not tell it');
});

void t.test('what is so of one node', (t) => {
  const well = examined('a', ['b']);
  const found = (node: ExaminedNode) => nodeFindings(node, [well, node], 'a');
  t.same(found(well), []);
  t.match(found(gone('b')), [{ level: 'refusal', code: 'node-unreachable', remedy: /start its agent/ }]);
  const { error } = gone('b');
  t.match(found(examined('b', null, { error, report: null })), [
    { level: 'warning', code: 'node-not-asked', message: /answers node a, and not you/ },
  ]);
  const refusing = { code: 'not-allowed', message: "needs 'operate'", retryable: false } as const;
  t.match(found(examined('b', null, { error: refusing, report: null })), [
    {
      level: 'refusal',
      code: 'not-allowed',
      message: /the agent of node b refuses .* needs 'operate'/,
      remedy: /token/,
    },
  ]);
  t.match(found(examined('b', [], { unsaid: [refusing] })), [{ level: 'warning', code: 'not-checked' }]);
  const soon = new Date(Date.now() + 5.5 * 86_400_000).toISOString();
  const shown = examined('a', [peer('b', { certificateExpiresAt: soon })]);
  const silent = examined('b', null, { error, report: null });
  t.match(nodeFindings(silent, [shown], 'a'), [
    {},
    { level: 'warning', code: 'certificate-expires', message: /certificate that node b shows .* in 5 days/ },
  ]);
  t.end();
});

void t.test('what is so of nodes beside each other', (t) => {
  const find = (...nodes: ExaminedNode[]) =>
    clusterFindings({ asked: 'a', known: nodes.map(({ node }) => node), nodes, links: null });
  t.same(summary(find(examined('a', ['b']), examined('b', ['a']))), ['ok agent-version', 'ok qemu-version']);
  t.same(find(gone('a')), []);
  const qemu = { version: '8.2.1', machines: ['pc-q35-7.1', 'pc-q35-7.2', 'pc-q35-8.2', 'none'] };
  const mixed = find(
    examined('a', ['b', 'x']),
    examined('b', ['a', 'x'], {}, { version: '0.2.0', qemu }),
    examined('c', ['a'], {}, { qemu: null }),
  );
  t.match(mixed, [
    { code: 'node-unknown', message: /node x is known to nodes a, b, and not to node a/ },
    { code: 'agent-version', message: 'agents: vmferry 0.1.0 on nodes a, c, vmferry 0.2.0 on node b' },
    { code: 'qemu-differs', message: /^QEMU 7\.2\.22 on node a, QEMU 8\.2\.1 on node b: / },
    { code: 'machine-types', message: /^QEMU of node a does not know .*: VMs of pc-q35-8\.2 can't go there/ },
  ]);
  t.ok(mixed.every(({ level, remedy }) => level === 'warning' && remedy));
  t.end();
});

void t.test('what is so between two nodes', (t) => {
  const between = (there: Partial<PeerReport>, back: Partial<PeerReport> = {}) =>
    pairFindings(examined('a', [peer('b', there)]), examined('b', [peer('a', back)]));
  const path = (changes: Partial<PeerPath>) => ({ path: { ...PATH, ...changes } });
  t.same(summary(between({})), ['ok protocol', 'ok path', 'ok path']);
  for (const [changes, expected] of [
    [path({ largePackets: 'lost', pathMtu: 9000 }), /^from a to b by eth0 small .* of 9000 bytes do not/],
    [path({ pathMtu: 1400 }), /^from a to b packets of 1400 .* eth0 sends up to 1500: 1360/],
    [
      path({ interfaceMtu: 9000, pathMtu: 9000, interface: 'bond0' }),
      /^bond0 of node a .* 9000, eth0 .* 1500$/,
    ],
    [path({ roundTripMs: 40 }), /^from a to b and back takes 40\.0 ms/],
    [
      { error: { code: 'peer-untrusted', message: 'of another CA' }, path: null },
      /^no VM moves from a to b: of/,
    ],
  ] as const) {
    const [first, ...others] = between(changes).filter(({ level }) => level !== 'ok');
    t.match(first, { message: expected, remedy: /./ });
    t.same(others, []);
  }
  const a = examined('a', ['b'], {}, { protocol: { min: 3, max: 4 } });
  const error = { code: 'version-unsupported', message: 'told by the handshake as well' };
  const b = examined('b', [peer('a', { error, path: null })], {}, { protocol: { min: 1, max: 2 } });
  t.match(pairFindings(a, b), [
    { code: 'version-unsupported', remedy: 'update the agent of node b' },
    { level: 'ok' },
  ]);
  t.match(pairFindings(examined('a', ['b']), examined('b', [])), [
    { level: 'ok' },
    { level: 'ok' },
    { code: 'peer-missing', remedy: /^add 'a: https/ },
  ]);
  const unheard = examined('b', null, { report: null });
  t.same(summary(pairFindings(examined('a', null), unheard)), ['ok not-checked']);
  const lost = { error: { code: 'peer-unreachable', message: 'refused' }, path: null };
  t.notOk(isPair(examined('a', [peer('b', lost)]), gone('b')), 'that it is gone is told of the node');
  t.notOk(isPair(examined('a', []), gone('b')), 'nor that not all know it');
  t.ok(isPair(examined('a', [peer('b', lost)]), examined('b', null, { report: null })));
  t.end();
});

void t.test('rates of links', (t) => {
  const GBIT = 125e6;
  const link = (from: string, to: string, bytesPerSecond: number | null): MeasuredLink => ({
    ...{ from, to, bytesPerSecond, error: null, finding: null },
  });
  const [a, b] = [examined('a', ['b']), examined('b', ['a'])];
  const found = (...links: MeasuredLink[]) => linkFindings(a, b, links);
  t.same(summary(found(link('a', 'b', GBIT), link('b', 'a', 0.6 * GBIT))), ['ok link-rate', 'ok link-rate']);
  t.match(found(link('a', 'b', GBIT), link('b', 'a', 0.4 * GBIT)), [
    { level: 'ok' },
    { code: 'link-slow', message: /^from b to a: .*, and back / },
  ]);
  const fast = examined('a', [peer('b', { path: { ...PATH, interfaceSpeed: 1e10 } })]);
  t.match(linkFindings(fast, b, [link('a', 'b', GBIT)]), [
    { code: 'link-slow', message: /its interfaces carry/ },
  ]);
  const others = ['cd', 'dc', 'ac', 'ca'].map(([from, to]) => link(from!, to!, 5 * GBIT));
  t.match(found(link('a', 'b', GBIT), link('b', 'a', GBIT), ...others), [
    { code: 'link-slow', message: /where .* is usual/ },
    { code: 'link-slow' },
  ]);
  const failing = (code: 'timeout' | 'pair-busy' | 'link-lost') =>
    summary(found({ ...link('a', 'b', null), error: { code, message: 'it says why', retryable: true } }));
  t.same(failing('timeout'), ['warning link-slow']);
  t.same(failing('pair-busy'), ['ok link-not-measured']);
  t.same(failing('link-lost'), ['refusal link-failed']);
  const finding = { message: 'pages go over WebSocket', remedy: 'open the port' };
  t.match(found({ ...link('a', 'b', GBIT), finding }), [
    { level: 'ok' },
    { code: 'link-transport', remedy: 'open the port' },
  ]);
  t.end();
});

void t.test('OPERATIONS.md tells of each finding', (t) => {
  const sources = ['scripts/doctor', 'agent/doctor'].flatMap((folder) =>
    readdirSync(folder).map((file) => readFileSync(`${folder}/${file}`, 'utf8')),
  );
  const codes = sources.flatMap((text) =>
    [...text.matchAll(/level: '(?:warning|refusal)',\s+code: '([a-z-]+)'/g)].map(([, code]) => code!),
  );
  t.ok(codes.length > 20, `${codes.length} are found`);
  const [, section = ''] = readFileSync('OPERATIONS.md', 'utf8').split('## Checking a cluster');
  for (const code of codes) t.match(section, `\`${code}\``);
  t.end();
});
