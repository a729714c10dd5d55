import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type ConnectionOptions, connect } from 'node:tls';
import t from 'tap';
import { certificateFiles, makeCertificates } from '../../scripts/lab/lab-certificates.js';
import { credentialsOf, makeFutureCertificate } from '../support/certificates.js';
import { dialControl } from '../../agent/link/link-client.js';
import { PAGE_STREAM_PATH, PAGE_STREAM_PROTOCOL } from '../../agent/link/link-paths.js';
import { dialTcpPages } from '../../agent/link/tcp-pages.js';
import { AgentClient } from '../../client/agent-client.js';
import type { Role } from '../../shared/api-tokens.js';
import { type Credentials, secureContext } from '../../shared/tls/credentials.js';
import { AgentLab, vmferry } from '../support/agent-lab.js';
import { startEndpoint } from '../support/link-endpoints.js';

/** Agents in processes of their own behind TLS, and who must not get in. */

const directory = await mkdtemp(join(tmpdir(), 'vmferry-tls-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const pki = join(directory, 'pki');
const foreignPki = join(directory, 'foreign-pki');
const expiredPki = join(directory, 'expired');
const HOST = '127.0.0.1';
await makeCertificates(
  pki,
  '--node',
  `a,${HOST}`,
  '--node',
  `b,${HOST}`,
  '--node',
  `c,${HOST}`,
  '--operator',
  'op',
);
await makeCertificates(foreignPki, '--node', `b,${HOST}`, '--operator', 'op');
// Of the same CA, and over.
await makeCertificates(expiredPki);
for (const file of ['ca.pem', 'ca-key.pem']) {
  await writeFile(join(expiredPki, file), readFileSync(join(pki, file)), { mode: 0o600 });
}
await makeCertificates(expiredPki, '--node', 'b', '--days', '-1');

const futurePki = join(directory, 'future');
await makeFutureCertificate(pki, 'b', futurePki);

/** The command `vmferry token create`, which asks no agent. */
const createToken = async (...args: string[]) =>
  await vmferry('http://127.0.0.1:1', ['token', 'create', ...args]).ended;
const tokenFile = (role: Role) => join(directory, `${role}.token`);
const tokens: Record<Role, string> = { read: '', operate: '' };
const lines: string[] = [];
for (const role of ['read', 'operate'] as const) {
  const { stdout } = await createToken(`the-${role}r`, '--role', role, '--out', tokenFile(role), '--json');
  lines.push((JSON.parse(stdout) as { line: string }).line);
  tokens[role] = readFileSync(tokenFile(role), 'utf8').trim();
}
await writeFile(join(directory, 'tokens.yaml'), lines.join('\n'));

const lab = await AgentLab.start(t, ['a', 'b'], (node: string) => ({
  tls: certificateFiles(pki, node),
  tokens: join(directory, 'tokens.yaml'),
  log: { level: 'trace' },
}));
const operator = { ...certificateFiles(pki, 'op'), tokenFile: tokenFile('operate') };
lab.access = operator;
const { url, log } = lab.agent('a');
const port = Number(new URL(url).port);

// Opened first, looked at last: it takes the five seconds that a handshake may take.
const unfinished = ['', '\x16\x03\x01\x02\x00\x01'].map((begun) => {
  const socket = connectTcp(port, HOST, () => socket.write(begun, 'latin1'));
  return { socket, closed: once(socket, 'close') };
});

/** Says hello to node `to`, which is expected at the agent of node a. */
async function hello(tls: Credentials | null, node: string, { to = 'a', at = url } = {}) {
  const { control, handshake } = await dialControl({
    ...{ to, url: at, tls, node, agent: 'test', migrationId: 'm-test-0001' },
  });
  control.close(1000, 'done');
  return handshake;
}

/** What comes back for a request that is written as it is. */
async function raw(request: string, options: ConnectionOptions): Promise<string> {
  const socket = connect({ host: HOST, port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  socket.end(request);
  return await text(socket);
}

const GET = 'GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n';

await t.test('a guest moves there and back over mutual TLS, and no secret is told', async (t) => {
  await lab.boot('a', { name: 'web', memory: 2 ** 22, program: 'dirty' });
  const there = await lab.migrate('web', 'a', 'b', { verify: 'strict', streams: 2 });
  t.match(there, { outcome: 'completed', verify: { mismatches: 0 } });
  const back = await lab.migrate('web', 'b', 'a', { verify: 'after', streams: 1 });
  t.match(back, { outcome: 'completed', verify: { mismatches: 0 } });
  const migrations = (await lab.client('a').status()).migrations;
  const status = await lab.command('a', ...accessArgs(), 'status', '--json');
  t.equal(status.exitCode, 0, status.stderr);
  const told = JSON.stringify([
    ...[lab.agent('a').log, lab.agent('b').log, there, back, migrations, status],
    ...[await lab.client('a').doctor(), await lab.client('a').status(), await lab.client('a').guests()],
    ...['a', 'b'].map((node) => readFileSync(`/proc/${lab.agent(node).process.pid}/cmdline`, 'latin1')),
  ]);
  t.ok(
    log.some(({ msg }) => msg === 'request answered'),
    'the log is the detailed one',
  );
  for (const role of ['read', 'operate'] as const) {
    t.notOk(told.includes(tokens[role].slice(8, 30)), `the token to ${role} is not told`);
    t.notOk(told.includes(createHash('sha256').update(tokens[role]).digest('hex')), 'nor its hash');
  }
  for (const name of ['a', 'b', 'op']) {
    const [, line = ''] = readFileSync(certificateFiles(pki, name).key, 'utf8').split('\n');
    t.ok(line.length > 40);
    t.notOk(told.includes(line), `the key of ${name} is not told`);
  }
  t.notMatch(told, /x-vmferry-token|pageToken|Bearer|PRIVATE KEY/);
});

function accessArgs(): string[] {
  const { certificate, key, ca, tokenFile } = operator;
  return ['--certificate', certificate, '--key', key, '--ca', ca, '--token-file', tokenFile];
}

await t.test('who says hello is whom the certificate names', async (t) => {
  t.match(await hello(credentialsOf(pki, 'b'), 'b'), { peer: { node: 'a' } });
  await t.rejects(hello(credentialsOf(pki, 'b'), 'c'), {
    code: 'peer-untrusted',
    message: /says that it is node c, and its certificate is that of node b: give each agent/,
  });
  await t.rejects(hello(credentialsOf(pki, 'c'), 'b'), {
    code: 'peer-untrusted',
    message: /node c is not among the peers here: add it to 'peers'/,
  });
  await t.rejects(hello(credentialsOf(pki, 'op'), 'b'), {
    code: 'peer-untrusted',
    message: /certificate 'operator op' names no node/,
  });
  await t.rejects(hello(credentialsOf(expiredPki, 'b'), 'b'), {
    code: 'peer-untrusted',
    message: /certificate 'node b' of the caller is refused: its certificate has expired: renew it/,
  });
  const future = { ...credentialsOf(pki, 'b'), certificate: readFileSync(join(futurePki, 'b.pem'), 'utf8') };
  await t.rejects(hello(future, 'b'), {
    code: 'peer-untrusted',
    message: /'node b' of the caller is refused: its certificate is not valid yet: set the clocks of both/,
  });
  // It knows the CA and has a certificate of another one.
  const foreign = { ...credentialsOf(foreignPki, 'b'), ca: credentialsOf(pki, 'b').ca };
  await t.rejects(hello(foreign, 'b'), {
    code: 'peer-untrusted',
    message: /was not issued by this cluster's CA/,
  });
  t.ok(
    log.some((line) => JSON.stringify(line).includes('is that of node b')),
    'the log tells it too',
  );
});

await t.test('who answers is whom the certificate names', async (t) => {
  await t.rejects(hello(credentialsOf(pki, 'b'), 'b', { to: 'c' }), {
    code: 'wrong-node',
    message: /certificate 'node a' that answers where node c was meant is that of node a: correct/,
  });
  await t.rejects(hello(credentialsOf(foreignPki, 'b'), 'b'), {
    code: 'peer-untrusted',
    message: /node a cannot be reached at https:.*not issued by this cluster's CA/,
  });
  for (const [from, words] of [
    [expiredPki, /node b cannot be reached at https:.*its certificate has expired: renew it/],
    [futurePki, /node b cannot be reached at https:.*its certificate is not valid yet: set the clocks/],
  ] as const) {
    const certificate = readFileSync(join(from, 'b.pem'), 'utf8');
    const { key } = from === futurePki ? credentialsOf(pki, 'b') : credentialsOf(expiredPki, 'b');
    const nodeB = await startEndpoint({ node: 'b' }, { ...credentialsOf(pki, 'b'), certificate, key });
    const dialed = hello(credentialsOf(pki, 'a'), 'a', { to: 'b', at: nodeB.url });
    await t.rejects(dialed, { code: 'peer-untrusted', message: words });
    await nodeB.stop();
  }
});

/** Asks over TLS, with a session of an earlier connection; whether it was taken up, and those that came. */
async function askAgain(to: number, session?: Buffer) {
  const own = { ...secureContext(credentialsOf(pki, 'op')), rejectUnauthorized: false };
  const sessions: Buffer[] = [];
  const socket = connect({ host: HOST, port: to, ...own, ...(session && { session }) });
  socket.on('session', (ticket) => sessions.push(ticket));
  await once(socket, 'secureConnect');
  const reused = socket.isSessionReused();
  socket.end(`${GET}\r\n`);
  await text(socket);
  return { reused, sessions };
}

await t.test('no session is taken up again', async (t) => {
  // What a server would give that does not mind.
  const other = await startEndpoint({}, credentialsOf(pki, 'a'));
  const otherPort = Number(new URL(other.url).port);
  const [ticket] = (await askAgain(otherPort)).sessions;
  t.ok((await askAgain(otherPort, ticket)).reused, 'the client would');
  await other.stop();
  const { sessions } = await askAgain(port);
  for (const session of [...sessions, ticket]) t.notOk((await askAgain(port, session)).reused);
});

await t.test('page streams: no certificate but that of the node of the migration', async (t) => {
  const dial = (name: string, from = pki) =>
    dialTcpPages({
      ...{ url, peer: 'node a', migrationId: 'm-test-0001', stream: 0, token: 'x' },
      tls: { credentials: credentialsOf(from, name), node: 'a' },
      intake: { space: () => null, filled: () => undefined, write: () => undefined, atBoundary: true },
      onEnd: () => undefined,
    });
  await t.rejects(dial('b'), { code: 'not-found' });
  await t.rejects(dial('c'), { code: 'peer-untrusted', message: /not among the peers/ });
  await t.rejects(dial('op'), { code: 'peer-untrusted', message: /names no node/ });
  await t.rejects(dial('b', expiredPki), { code: 'peer-untrusted', message: /has expired/ });
});

await t.test('connections that are not what they should be', async (t) => {
  const own = secureContext(credentialsOf(pki, 'op'));
  const answered = await raw(`${GET}\r\n`, {});
  t.match(answered, /401 .*"code":"unauthenticated".*showed no certificate/s);
  const upgrade = `GET ${PAGE_STREAM_PATH} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\n\r\n`;
  t.match(await raw(upgrade, {}), /502 .*"code":"peer-untrusted".*showed no certificate/s);
  await t.rejects(raw(GET, { ...own, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }), {
    code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  });
  const failed = lab
    .agent('a')
    .logged((line) => JSON.stringify(line).includes('plain HTTP to a port with TLS'));
  let seen = false;
  void failed.then(() => (seen = true));
  // One a second is reported.
  while (!seen) {
    const plain = connectTcp(port, HOST);
    plain.on('error', () => undefined);
    plain.write(`${GET}\r\n`);
    await once(plain, 'close');
  }
  t.match(await failed, { msg: 'connection refused', error: { code: 'unauthenticated' } });
  await t.rejects(new AgentClient(url.replace('https', 'http')).status(), {
    message: /https:\/\//,
  });
});

await t.test('each request needs a token whose role covers it', async (t) => {
  const client = (tokenFile?: string) => new AgentClient(url, { ...certificateFiles(pki, 'op'), tokenFile });
  const reader = client(tokenFile('read'));
  t.match(await reader.status(), { node: { node: 'a' } });
  t.match(await reader.guests(), [{ name: 'web' }]);
  await t.rejects(client().status(), {
    code: 'unauthenticated',
    message: /has no token: send one, as 'Authorization/,
  });
  const wrong = join(directory, 'wrong.token');
  t.match(await createToken('x', '--role', 'operate', '--out', wrong), { exitCode: 0 });
  await t.rejects(client(wrong).status(), { code: 'unauthenticated', message: /none of those/ });
  const refused = { code: 'not-allowed', message: /the-readr has the role 'read', and this needs 'operate'/ };
  await t.rejects(reader.changeGuest('web', 'stop'), refused);
  await t.rejects(reader.undefineGuest('web'), refused);
  await t.rejects(reader.sendConsoleInput('web', Buffer.from('x')), refused);
  await t.rejects(reader.startMigration({ vm: 'web', to: 'b', options: {} }), refused);
  await t.rejects(reader.preflight({ vm: 'web', to: 'b', options: {} }), refused);
  await t.rejects(reader.cancelMigration('m-test-0001'), refused);
  await t.rejects(reader.limitMigration('m-test-0001', 1), refused);
  await t.rejects(reader.testLink({ to: 'b' }), refused);
  // A node has a certificate of the CA, and no token.
  await t.rejects(new AgentClient(url, certificateFiles(pki, 'b')).guests(), { code: 'unauthenticated' });
});

await t.test('the command line says what is wrong with its files', async (t) => {
  const open = join(directory, 'open.token');
  await writeFile(open, tokens.operate, { mode: 0o644 });
  const said = async (...args: string[]) => await vmferry(url, [...args, 'status']).ended;
  const { certificate, key, ca } = certificateFiles(pki, 'op');
  const tls = ['--certificate', certificate, '--key', key, '--ca', ca];
  const readable = await said(...tls, '--token-file', open);
  t.match(readable, {
    exitCode: 2,
    stderr: /token file .*others than its owner can read it \(mode 0644\); chmod 600/,
  });
  t.match(await said('--ca', ca, '--key', key), {
    exitCode: 2,
    stderr: /give all of --ca, --certificate and --key/,
  });
  const mixed = ['--certificate', certificate, '--key', certificateFiles(pki, 'b').key, '--ca', ca];
  t.match(await said(...mixed), { exitCode: 2, stderr: /does not belong to the certificate/ });
  const clear = vmferry('http://10.0.0.1:1', ['--token-file', operator.tokenFile, 'status']).ended;
  t.match(await clear, { exitCode: 2, stderr: /the token is not sent to http:\/\/10\.0\.0\.1:1/ });
});

await t.test('certificates and tokens are read again on SIGHUP', async (t) => {
  const agent = lab.agent('b');
  const { certificate } = certificateFiles(pki, 'b');
  await copyFile(certificateFiles(expiredPki, 'b').certificate, certificate);
  agent.process.kill('SIGHUP');
  t.match(await agent.logged(({ msg }) => /could not be read again/.test(String(msg))), {
    msg: /the former ones stay/,
    err: {
      message: /the certificate .*b\.pem \('tls\.certificate'\) can't be used: it expired on .*; renew it/,
    },
  });
  t.ok(await lab.client('b').status(), 'they do');
  await makeCertificates(pki, '--node', `b,${HOST}`, '--days', '3');
  agent.process.kill('SIGHUP');
  await agent.logged(({ msg }) => msg === 'certificates and tokens were read again');
  const again = Number(new URL(agent.url).port);
  for (const session of (await askAgain(again)).sessions) t.notOk((await askAgain(again, session)).reused);
  const { findings } = await lab.client('b').doctor();
  t.ok(findings.some(({ code }) => code === 'certificate-expires'));
  t.match(await lab.migrate('web', 'a', 'b'), { outcome: 'completed' });
});

await t.test('handshakes that are never begun, or never finished, are ended', async (t) => {
  for (const { socket, closed } of unfinished) {
    await closed;
    t.equal(socket.bytesRead, 0);
  }
});
