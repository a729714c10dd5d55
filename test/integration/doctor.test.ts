import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { guestKinds } from '../../agent/guest/guest-kinds.js';
import { certificateFiles, makeCertificates } from '../../scripts/lab/lab-certificates.js';
import type { ClusterDoctorReport } from '../../scripts/doctor/doctor-report.js';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { EXIT } from '../../shared/api.js';
import { AgentConfigSchema } from '../../shared/config.js';
import { examinePath } from '../../agent/doctor/peer-path.js';
import { runCommand } from '../support/api-terminal.js';
import { Cluster } from '../support/cluster.js';
import { summary } from '../scripts/doctor/samples.js';

/** `vmferry doctor` over real agents. */

/** As hosts with a QEMU are, which is tried elsewhere. */
const kinds = {
  ...guestKinds(AgentConfigSchema.parse({ node: 'any' }), pino({ level: 'silent' })),
};
kinds.qemu = {
  ...kinds.qemu,
  survivors: () => Promise.resolve([]),
  doctor: () =>
    Promise.resolve({
      findings: [{ level: 'ok', code: 'accelerator', message: 'KVM: works' }],
      qemu: { version: '7.2.22', machines: ['pc-q35-7.2'] },
    }),
};

async function temporary(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-doctor-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A port of loopback that nobody listens to. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** What the command does, and its findings by what they are about, those of hosts left out: they differ. */
async function doctor(args: string[]) {
  const { exitCode, stdout } = await runCommand(['doctor', '--json', ...args]);
  const report = JSON.parse(stdout) as ClusterDoctorReport;
  const hosts = new Set([
    'guest-memory',
    'open-files',
    'file-size',
    'clock-not-kept',
    'round-trip',
    'kernel',
  ]);
  const wrong = ({ findings }: ClusterDoctorReport['cluster']) =>
    summary(findings.filter(({ level, code }) => level !== 'ok' && !hosts.has(code)));
  const found: Record<string, string[]> = { all: wrong(report.cluster) };
  for (const section of report.nodes) found[section.node] = wrong(section);
  for (const section of report.pairs) found[section.nodes.join('-')] = wrong(section);
  return { exitCode, report, found };
}

await t.test('a cluster with something wrong with each of its nodes', async (t) => {
  const directory = await temporary(t);
  const pki = join(directory, 'pki');
  await makeCertificates(pki, '--node', 'a,127.0.0.1', '--node', 'b,127.0.0.1', '--operator', 'op');
  await makeCertificates(pki, '--node', 'c,127.0.0.1', '--days', '9');
  const { token, entry } = createToken('op', 'operate');
  const tokens = join(directory, 'tokens.yaml');
  await writeFile(tokens, tokenLine(entry), { mode: 0o600 });
  await writeFile(join(directory, 'token'), token, { mode: 0o600 });
  const reader = createToken('reader', 'read');
  await writeFile(join(directory, 'reader'), reader.token, { mode: 0o600 });
  const away = `https://127.0.0.1:${await freePort()}`;
  const cluster = await Cluster.start(
    ['a', 'b', 'c'],
    (node: string) => ({
      tls: certificateFiles(pki, node),
      tokens,
      peers: node === 'b' ? {} : { gone: away },
    }),
    kinds,
    { b: () => Date.now() + 90_000 },
  );
  t.teardown(() => cluster.close());
  await cluster.service('a').setDrained(true);
  const { ca, certificate, key } = certificateFiles(pki, 'op');
  const access = ['--agent', cluster.agent('c').url, '--ca', ca, '--certificate', certificate, '--key', key];
  const asOperator = [...access, '--token-file', join(directory, 'token')];

  const { exitCode, report, found } = await doctor(asOperator);
  t.equal(exitCode, EXIT.refused);
  t.same(found, {
    ...{
      all: [],
      gone: ['refusal node-unreachable'],
      a: ['warning node-drained'],
      b: ['warning clock-offset'],
    },
    ...{ c: ['warning certificate-expires'], 'a-b': [], 'a-c': [], 'b-c': [] },
  });
  t.match(report, { ok: false, node: 'c', refusals: 1, linksMeasured: false });
  t.equal(report.nodes[0]?.node, 'gone', 'the worst first');
  const clock = report.nodes.find(({ node }) => node === 'b')?.clock;
  t.ok(Math.abs(clock!.aheadMs - 90_000) <= clock!.boundMs, JSON.stringify(clock));
  const messages = report.nodes.flatMap(({ findings }) => findings.map(({ message }) => message)).join('\n');
  t.match(messages, /the certificate of node c expires on .*, in 8 days/);
  t.match(messages, /node gone answers neither you nor node c: .*ECONNREFUSED/);
  t.match(report.pairs[0]?.paths, [
    { interface: 'lo', largePackets: 'pass' },
    { interface: 'lo', pathMtu: Number },
  ]);

  const { stdout } = await runCommand(['doctor', ...asOperator]);
  t.match(
    stdout,
    /^4 nodes and 3 pairs, named by node c\n\nnode gone\n {2}refusal: node gone answers neither/,
  );
  t.match(stdout, /\nnode a\n {2}warning: node a is drained .*\n {4}once .*: vmferry undrain a\n/);
  t.match(stdout, /\nnodes a and b: ok/);
  t.match(stdout, /not all VMs can run and move: see the refusals \(1 refusal, .*\n.*--link does that/);

  const agents = `${cluster.agent('a').url},${cluster.agent('c').url}`;
  const bench = await runCommand([
    'bench',
    'link',
    '--agents',
    agents,
    '--runs',
    '1',
    '--size',
    '4MiB',
    '--memory',
    'embedded',
    ...asOperator,
  ]);
  t.match(
    bench,
    { exitCode: EXIT.done, stdout: /vmferry, embedded +\d/ },
    'who measures between two agents proves who they are, too',
  );

  const well = await doctor([...asOperator, 'a,c']);
  t.equal(well.exitCode, EXIT.done, 'warnings are no refusals');
  t.same(Object.keys(well.found), ['all', 'a', 'c', 'a-c']);
  t.match(await runCommand(['doctor', ...asOperator, 'x']), {
    exitCode: EXIT.refused,
    stderr: /node x is not known to node c: .* \(known: a, b, c, gone\)/,
  });
  const stranger = await runCommand(['doctor', ...access, '--token-file', join(directory, 'reader')]);
  t.match(stranger, { exitCode: EXIT.failed, stderr: /the token is none of those/ });
});

await t.test('an agent that lets nobody in is named, and so is one that does not know another', async (t) => {
  const directory = await temporary(t);
  const { token, entry } = createToken('op', 'operate');
  const own = join(directory, 'tokens.yaml');
  await writeFile(own, tokenLine(entry), { mode: 0o600 });
  await writeFile(join(directory, 'token'), token, { mode: 0o600 });
  const others = join(directory, 'others.yaml');
  await writeFile(others, tokenLine(createToken('op', 'operate').entry), { mode: 0o600 });
  const cluster = await Cluster.start(
    ['a', 'b', 'c'],
    (node: string) => ({ tokens: node === 'b' ? others : own, lock: { disabledForBenchmark: node === 'c' } }),
    kinds,
  );
  t.teardown(() => cluster.close());
  cluster.forget('c', 'a');
  const { exitCode, report, found } = await doctor([
    ...['--agent', cluster.agent('a').url, '--token-file', join(directory, 'token')],
  ]);
  t.equal(exitCode, EXIT.refused);
  t.same(found, {
    ...{ all: [], a: [], b: ['refusal unauthenticated'], c: ['warning lock-disabled'] },
    ...{ 'a-b': [], 'a-c': ['warning peer-missing'], 'b-c': [] },
  });
  t.match(report.nodes[0]?.findings, [{ message: /the agent of node b refuses to answer you/ }]);
});

await t.test('links are measured where no migration is', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c'], {}, kinds);
  t.teardown(() => cluster.close());
  const url = ['--agent', cluster.agent('a').url];
  const measured = await doctor([...url, '--link', 'a,b']);
  t.match(measured.report, {
    linksMeasured: true,
    pairs: [{ nodes: ['a', 'b'], links: [{ from: 'a' }, { from: 'b' }] }],
  });
  for (const { bytesPerSecond, error } of measured.report.pairs[0]!.links) {
    t.ok(bytesPerSecond! > 0, JSON.stringify(error));
  }
  t.equal(measured.exitCode, EXIT.done);
  t.match(
    (await runCommand(['doctor', ...url, '--link', 'a,b', '--verbose'])).stdout,
    // How fast it is depends on what else this host does, and whether that is told as too slow.
    /(ok|warning): from b to a: .*\/s.* \(link-/,
  );

  await cluster.boot('b', { name: 'moves', program: 'dirty' });
  const slow = { bandwidthBytesPerSecond: 8000, stallRounds: 1000 };
  const b = cluster.service('b');
  const { id } = await b.startMigration({ vm: 'moves', to: 'c', options: slow });
  while ((await b.migration(id)).phase !== 'copying') await setImmediate();
  const busy = await doctor([...url, '--link', 'a,b']);
  t.match(busy.report.pairs[0], {
    links: [
      { bytesPerSecond: null, error: { code: 'pair-busy' } },
      { bytesPerSecond: null, error: { code: 'pair-busy' } },
    ],
    ok: true,
  });
  t.equal(cluster.service('a').queue().length, 0, 'nothing is left waiting');
  t.equal((await b.migration(id)).phase, 'copying');
  await b.cancelMigration(id);
});

await t.test('a link that is too slow for the time it may take is given up', async (t) => {
  const cluster = await Cluster.start(['a', 'b'], {}, kinds);
  t.teardown(() => cluster.close());
  const request = { to: 'b', memory: 'embedded', bytes: 2 ** 20, rounds: 2, streams: 1 } as const;
  const test = (limits: { bandwidthBytesPerSecond: number; maxMs: number }) =>
    cluster.service('a').testLink({ ...request, ...limits }, new AbortController().signal);
  await t.rejects(test({ bandwidthBytesPerSecond: 8000, maxMs: 50 }), {
    code: 'timeout',
    message: '1.0 MiB did not get to node b within 50 ms',
  });
  const { bytesPerSecond } = await test({ bandwidthBytesPerSecond: 0, maxMs: 3_600_000 });
  t.equal(bytesPerSecond.length, 2);
  await cluster.cleared('b');
});

await t.test('a way on which long packets are lost', async (t) => {
  // As a host behind such a way: what is short arrives, what is long does not.
  const host = createServer((socket) => {
    socket.on('data', (data) => {
      if (data.length < 1400) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    });
    socket.on('error', () => undefined);
  });
  host.listen(0, '127.0.0.1');
  await once(host, 'listening');
  t.teardown(() => host.close());
  const { port } = host.address() as AddressInfo;
  const found = await examinePath(
    ...([{ node: 'b', url: `http://127.0.0.1:${port}` }, null, new AbortController().signal] as const),
    2000,
  );
  t.match(found, { path: { largePackets: 'lost', localAddress: '127.0.0.1' }, certificateExpiresAt: null });
});
