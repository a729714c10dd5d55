import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { AgentClient } from '../../client/agent-client.js';
import { certificateFiles, makeCertificates } from '../../scripts/lab/lab-certificates.js';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { AgentLab } from '../support/agent-lab.js';
import { Cluster } from '../support/cluster.js';

/** What one agent shows of all of them. */

await t.test('each node, and the queues of all as one', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c', 'd']);
  t.teardown(() => cluster.close());
  for (const name of ['runs', 'waits', 'elsewhere']) await cluster.boot('a', { name });
  const a = cluster.service('a');
  const slow = { bandwidthBytesPerSecond: 8000, maxRounds: 1 };
  const { id: running } = await a.startMigration({ vm: 'runs', to: 'b', options: slow });
  while ((await a.migration(running)).phase !== 'copying') await setImmediate();
  const { id: waiting } = await a.startMigration({ vm: 'waits', to: 'c', options: {}, priority: -2 });
  while (cluster.service('c').queue().length === 0) await setImmediate();
  const report = await cluster.service('d').cluster();
  t.equal(report.node, 'd');
  t.match(
    report.nodes.map(({ node, url, status, error }) => [node, url, status?.node.node, error]),
    ['a', 'b', 'c', 'd'].map((node) => [node, cluster.agent(node).url, node, null]),
  );
  t.match(
    report.queue.map(({ migration, state, from, to, priority }) => ({
      migration,
      state,
      from,
      to,
      priority,
    })),
    [
      { migration: running, state: 'running', from: 'a', to: 'b', priority: 0 },
      { migration: waiting, state: 'waiting', from: 'a', to: 'c', priority: -2 },
    ],
  );
  t.same(
    report.queue.map(({ positions }) => positions.map(({ node, position }) => `${node} ${position}`).sort()),
    [
      ['a 0', 'b 0'],
      ['a 1', 'c 1'],
    ],
  );
  t.match(report.queue[1]!.waitsFor, [{ node: 'a', holder: running }]);
  t.equal(await cluster.service('d').cluster(), report, 'who asks again at once is told the same');
  await a.cancelMigration(waiting);
  await a.cancelMigration(running);
  await cluster.service('c').setDrained(true);
  const client = new AgentClient(cluster.agent('d').url);
  const drained = async () =>
    (await client.cluster(true)).nodes.flatMap(({ node, status }) => (status?.node.drained ? [node] : []));
  t.same(await Promise.all([drained(), drained()]), [['c'], ['c']], 'unless it wants to know how it is now');
});

await t.test('a node that is away, one that is another, and one that talks nonsense', async (t) => {
  const nonsense = createServer((_request, response) => response.end('{"node":{"node":"x"}}'));
  nonsense.listen(0, '127.0.0.1');
  await once(nonsense, 'listening');
  t.teardown(() => nonsense.close());
  const away = createServer().listen(0, '127.0.0.1');
  await once(away, 'listening');
  const { port: free } = away.address() as AddressInfo;
  away.close();
  await once(away, 'close');
  const { port } = nonsense.address() as AddressInfo;
  const cluster = await Cluster.start(['a', 'b'], {
    peers: { gone: `http://127.0.0.1:${free}`, odd: `http://127.0.0.1:${port}` },
  });
  t.teardown(() => cluster.close());
  const [a, b] = [cluster.service('a'), cluster.service('b')];
  const seen = async () =>
    Object.fromEntries((await a.cluster()).nodes.map(({ node, error }) => [node, error?.code ?? null]));
  t.same(await seen(), { a: null, b: null, gone: 'peer-unreachable', odd: 'peer-failed' });
  const { nodes } = await b.cluster();
  t.match(nodes.find(({ node }) => node === 'gone')?.error?.message, `node gone at http://127.0.0.1:${free}`);
});

await t.test('with TLS and tokens a node shows itself to its peers, and no more than itself', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-cluster-view-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const pki = join(directory, 'pki');
  const nodes = ['a', 'b', 'stranger'].flatMap((node) => ['--node', `${node},127.0.0.1`]);
  await makeCertificates(pki, ...nodes, '--operator', 'op');
  const { token, entry } = createToken('op', 'operate');
  const tokens = join(directory, 'tokens.yaml');
  await writeFile(tokens, tokenLine(entry), { mode: 0o600 });
  await writeFile(join(directory, 'token'), token, { mode: 0o600 });
  const lab = await AgentLab.start(t, ['a', 'b'], (node: string) => ({
    tls: certificateFiles(pki, node),
    tokens,
  }));
  const asOperator = { ...certificateFiles(pki, 'op'), tokenFile: join(directory, 'token') };
  const report = await new AgentClient(lab.agent('a').url, asOperator).cluster();
  t.same(
    report.nodes.map(({ node, error }) => [node, error]),
    [
      ['a', null],
      ['b', null],
    ],
  );
  const asPeer = new AgentClient(lab.agent('b').url, certificateFiles(pki, 'a'));
  t.equal((await asPeer.status()).node.node, 'b');
  t.same(await asPeer.queue(), []);
  const forbidden: (() => Promise<unknown>)[] = [
    () => asPeer.guests(),
    () => asPeer.doctor(),
    () => asPeer.cluster(),
    () => asPeer.setDrained(true),
  ];
  for (const ask of forbidden) await t.rejects(ask(), { code: 'unauthenticated' });
  for (const other of ['stranger', 'op']) {
    await t.rejects(
      new AgentClient(lab.agent('b').url, certificateFiles(pki, other)).status(),
      { code: 'unauthenticated' },
      other,
    );
  }
});

await t.test('a drained node takes no guests, over a restart, until that is ended', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  await lab.boot('a', { name: 'web' });
  await lab.boot('b', { name: 'leaves' });
  const [a, b] = [lab.client('a'), lab.client('b')];
  t.equal((await b.setDrained(true)).drained, true);
  const refused = { code: 'node-drained', message: /node b is drained .*vmferry undrain b/ };
  await t.rejects(a.startMigration({ vm: 'web', to: 'b', options: {} }), refused);
  t.match(await a.preflight({ vm: 'web', to: 'b', options: {} }), {
    ok: false,
    findings: [{ level: 'ok' }, { code: 'node-drained' }],
  });
  t.match(await lab.migrate('leaves', 'b', 'a'), { outcome: 'completed' }, 'guests may leave');
  await lab.agent('b').stop();
  await lab.restart('b');
  t.equal((await b.status()).node.drained, true);
  await t.rejects(a.startMigration({ vm: 'web', to: 'b', options: {} }), refused);
  await b.setDrained(false);
  await b.setDrained(false);
  t.match(await lab.migrate('web', 'a', 'b'), { outcome: 'completed' });
});
