import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { TargetControl } from '../../agent/link/link.js';
import { PAGES_PATH, TCP_PAGES_FEATURE } from '../../agent/link/link-paths.js';
import { PAGE_TOKEN_HEADER } from '../../agent/link/page-token.js';
import { certifiedPeer } from '../../agent/link/peer-identity.js';
import { dialTcpPages } from '../../agent/link/tcp-pages.js';
import { certificateFiles, makeCertificates } from '../../scripts/lab/lab-certificates.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';
import { secureContext } from '../../shared/tls/credentials.js';
import { AgentLab } from '../support/agent-lab.js';
import { credentialsOf } from '../support/certificates.js';
import { startEndpoint } from '../support/link-endpoints.js';
import { RawPeer, refusedUpgrade } from '../support/raw-peer.js';

/** Somebody with papers, but not those of the node that a migration's token was given to, who has that token. */

const HOST = '127.0.0.1';
const directory = await mkdtemp(join(tmpdir(), 'vmferry-stolen-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const pki = join(directory, 'pki');
const foreignPki = join(directory, 'foreign-pki');
await makeCertificates(pki, ...['a', 'b', 'c'].flatMap((node) => ['--node', `${node},${HOST}`]));
await makeCertificates(foreignPki, '--node', `b,${HOST}`);

const ofB = credentialsOf(pki, 'b');
/** Each with what it is told. */
const THIEVES = [
  { who: 'another peer', credentials: credentialsOf(pki, 'c'), code: 'not-found' },
  {
    who: 'the same node of another CA',
    credentials: { ...credentialsOf(foreignPki, 'b'), ca: ofB.ca },
    code: 'peer-untrusted',
  },
] as const;

/** Node b: the product's own server, and no more of an agent than a test wants. */
const heard: { control: TargetControl; message: SourceMessage }[] = [];
let wake = (): void => undefined;
const nodeB = await startEndpoint(
  {
    node: 'b',
    features: [TCP_PAGES_FEATURE],
    certifiedPeer: (socket) => certifiedPeer(socket, new Set(['a'])),
    onControl: (control) =>
      void control.onMessage((message) => {
        heard.push({ control, message });
        wake();
      }),
  },
  ofB,
);
t.teardown(() => nodeB.stop());

/** The next message that matches; those before it are answered as a target does that is free and has no objections. */
async function hears(matches: (message: SourceMessage) => boolean) {
  for (;;) {
    const next = heard.shift();
    if (next === undefined) await new Promise<void>((resolve) => (wake = resolve));
    else if (matches(next.message)) return next;
    else if (next.message.type === 'prepare')
      await next.control.send({ type: 'prepared', transport: 'tcp', token: '', findings: [] });
    else if (next.message.type === 'lock-request') await next.control.send({ type: 'lock-granted' });
  }
}

const lab = await AgentLab.start(t, ['a'], () => ({
  tls: certificateFiles(pki, 'a'),
  // Of node c nothing is asked.
  peers: { b: nodeB.url, c: `https://${HOST}:9` },
  log: { level: 'trace' },
}));
lab.access = certificateFiles(pki, 'b');
const { url } = lab.agent('a');

/** What the agent tells of itself has no such token. */
async function isSecret(t: Test, token: string): Promise<void> {
  const told = JSON.stringify([
    ...[lab.agent('a').log, await lab.client('a').status(), await lab.client('a').queue()],
    readFileSync(`/proc/${lab.agent('a').process.pid}/cmdline`, 'latin1'),
  ]);
  t.match(told, /connection refused/, 'the thieves are in the log');
  t.ok(token.length > 20);
  t.notOk(told.includes(token), 'their token is not');
}

await t.test('the token of streams that the source opens, over WebSocket', async (t) => {
  const tls = secureContext(ofB);
  const peer = await RawPeer.connect(url, 'm-from-b', tls);
  await (await peer.greet({ node: 'b' })).lock();
  const token = await peer.prepare();
  t.not(token, '');
  for (const { who, credentials, code } of THIEVES) {
    const path = `${PAGES_PATH}?migration=${peer.migrationId}&stream=0`;
    const headers = { [PAGE_TOKEN_HEADER]: token };
    const { error } = await refusedUpgrade(url, path, headers, secureContext(credentials));
    t.equal(error.code, code, who);
  }
  const pages = await peer.pages(token, 0, tls);
  pages.cut();
  t.match(await peer.hear('error'), { code: 'link-lost' }, 'the token was right');
  await peer.socket.closed;
  await isSecret(t, token);
});

await t.test('the token of streams that the target opens, over TCP', async (t) => {
  await lab.boot('a', { name: 'web', memory: 2 ** 22, program: 'dirty' });
  const requested = lab.request('web', 'a', 'b', { streams: 1 });
  const { control, message } = await hears(({ type, ...rest }) => {
    return type === 'prepare' && !('dryRun' in rest && rest.dryRun);
  });
  const id = await requested;
  const { pageToken } = message as Extract<SourceMessage, { type: 'prepare' }>;
  t.type(pageToken, 'string');
  const dial = async (credentials: typeof ofB) =>
    await dialTcpPages({
      ...{ url, peer: 'node a', migrationId: id, stream: 0, token: pageToken! },
      tls: { credentials, node: 'a' },
      intake: { space: () => null, filled: () => undefined, write: () => undefined, atBoundary: true },
      onEnd: () => undefined,
    });
  for (const { who, credentials, code } of THIEVES) await t.rejects(dial(credentials), { code }, who);
  (await dial(ofB)).close();
  await control.send({ type: 'error', code: 'guest-failed', message: 'enough', retryable: false });
  const result = await lab.result('a', id);
  t.match(result, { outcome: 'failed' });
  t.notOk(JSON.stringify(result).includes(pageToken!));
  await isSecret(t, pageToken!);
  t.same(await lab.whereIs('web'), { a: 'running' });
});
