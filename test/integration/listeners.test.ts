import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { pino } from 'pino';
import t from 'tap';
import { certificateFiles, makeCertificates } from '../../scripts/lab/lab-certificates.js';
import { Agent } from '../../agent/agent.js';
import { AgentClient } from '../../client/agent-client.js';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { AgentConfigSchema } from '../../shared/config.js';
import { validate } from '../../shared/validate.js';
import { definitionOf, vmferry } from '../support/agent-lab.js';

/** Where agents listen, and where they refuse to. */

const directory = await mkdtemp(join(tmpdir(), 'vmferry-listen-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const socket = join(directory, 'agent.sock');
let agents = 0;

async function start(settings: object): Promise<Agent> {
  const stateDirectory = join(directory, `state-${(agents += 1)}`);
  const config = AgentConfigSchema.parse({ node: 'a', stateDirectory, ...settings });
  return await Agent.start(config, pino({ level: 'silent' }));
}

await t.test('a unix socket serves the API, to its owner alone, and goes with its agent', async (t) => {
  const agent = await start({ listen: `unix:${socket}` });
  t.equal(agent.url, `unix:${socket}`);
  t.equal(statSync(socket).mode & 0o777, 0o600);
  const client = new AgentClient(agent.url);
  await client.defineGuest(definitionOf({ name: 'web' }), undefined);
  await client.changeGuest('web', 'start');
  t.match(await vmferry(`unix:${socket}`, ['vm', 'list']).ended, { exitCode: 0, stdout: /web/ });
  await t.rejects(start({ listen: `unix:${socket}` }), {
    code: 'invalid-request',
    message: /agent\.sock can't be listened on: another program serves it; end that program/,
  });
  // Neither a stream that is followed, nor a client that has said nothing keeps the agent from ending.
  const printed = client.followConsole('web', 0, new AbortController().signal);
  const following = printed.next().catch(() => undefined);
  const silent = connect(socket);
  await once(silent, 'connect');
  await client.status();
  await agent.close();
  await following;
  await printed.return(null);
  t.notOk(existsSync(socket));
});

await t.test('one that was left behind is replaced, anything else is left alone', async (t) => {
  // A process that is killed leaves its socket there.
  const leave = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', leave]), 'exit');
  t.ok(existsSync(socket));
  const agent = await start({ listen: `unix:${socket}` });
  t.match(await new AgentClient(agent.url).status(), { node: { node: 'a' } });
  const file = join(directory, 'file');
  await writeFile(file, 'kept');
  const refused = {
    code: 'invalid-request',
    message: /can't be listened on: something else is there; remove it/,
  };
  await t.rejects(start({ listen: `unix:${file}` }), refused);
  const link = join(directory, 'link');
  await symlink(socket, link);
  await t.rejects(start({ listen: `unix:${link}` }), refused);
  await t.rejects(start({ listen: `unix:${directory}/no/such/where` }), {
    code: 'invalid-request',
    message: /no such file or directory.*; make its directory, or choose another path/,
  });
  await agent.close();
});

await t.test('the directory of a socket is made, as one of /run is gone with each boot', async (t) => {
  const path = join(directory, 'run', 'agent.sock');
  const agent = await start({ listen: `unix:${path}` });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.match(await new AgentClient(`unix:${path}`).node(), { node: 'a' });
  await agent.close();
});

await t.test('a port with TLS and a unix socket; tokens hold for both', async (t) => {
  await makeCertificates(join(directory, 'pki'), '--node', 'a,127.0.0.1', '--operator', 'op');
  const { token, entry } = createToken('ci', 'operate');
  const tokens = join(directory, 'tokens.yaml');
  const tokenFile = join(directory, 'ci.token');
  await writeFile(tokens, tokenLine(entry));
  await writeFile(tokenFile, token, { mode: 0o600 });
  const agent = await start({
    listen: ['127.0.0.1:0', `unix:${socket}`],
    tls: certificateFiles(join(directory, 'pki'), 'a'),
    tokens,
  });
  const operator = certificateFiles(join(directory, 'pki'), 'op');
  t.match(await new AgentClient(agent.url, { ...operator, tokenFile }).status(), { node: { node: 'a' } });
  t.match(await new AgentClient(`unix:${socket}`, { tokenFile }).status(), { node: { node: 'a' } });
  await t.rejects(new AgentClient(`unix:${socket}`).status(), { code: 'unauthenticated' });
  await t.rejects(new AgentClient(agent.url, { ca: operator.ca, tokenFile }).status(), {
    code: 'unauthenticated',
    message: /showed no certificate/,
  });
  // Those that are secure and say nothing, and those that don't even become that, keep no agent from ending.
  const { hostname, port } = new URL(agent.url);
  const secure = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false });
  secure.on('error', () => undefined);
  await once(secure, 'secureConnect');
  const bare = connect(Number(port), hostname);
  bare.on('error', () => undefined);
  await once(bare, 'connect');
  await agent.close();
  t.notOk(existsSync(socket));
});

await t.test('on loopback nobody is asked by a name that a web site could have', async (t) => {
  const agent = await start({ listen: ['127.0.0.1:0', `unix:${socket}`] });
  const { port } = new URL(agent.url);
  const statusOf = async (Host: string, at: RequestOptions) => {
    const request = get({ ...at, path: '/v1/status', headers: { Host } });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  const tcp = { host: '127.0.0.1', port };
  for (const name of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.nip.io'])
    t.equal(await statusOf(name, tcp), 400, name);
  for (const name of [`127.0.0.1:${port}`, '[::1]:1', 'localhost', `LOCALHOST:${port}`, 'a.localhost'])
    t.equal(await statusOf(name, tcp), 200, name);
  t.equal(await statusOf('whatever', { socketPath: socket }), 200, 'no browser asks by a unix socket');
  await agent.close();
});

await t.test('what the configuration refuses', (t) => {
  const tls = { certificate: '/c', key: '/k', ca: '/ca' };
  const refused = (settings: object, message: RegExp) => {
    const config = { node: 'a', ...settings };
    const check = () => validate(AgentConfigSchema, config, 'invalid-request', 'the configuration');
    t.throws(check, { message });
  };
  const accepted = (settings: object) =>
    t.ok(AgentConfigSchema.safeParse({ node: 'a', ...settings }).success, JSON.stringify(settings));
  for (const host of ['10.0.0.1', '0.0.0.0', '[::]', 'host-a', '127.evil.example']) {
    refused(
      { listen: `${host}:7800` },
      /listen: .* can be reached from other hosts, and there is no 'tls': give it/,
    );
  }
  for (const host of ['127.0.0.1', '127.0.0.2', '[::1]', 'localhost']) accepted({ listen: `${host}:7800` });
  refused({ listen: '10.0.0.1:7800', tls }, /nobody could use this agent's API, which needs tokens there/);
  accepted({ listen: '10.0.0.1:7800', tls, tokens: '/t' });
  accepted({ listen: ['10.0.0.1:7800', 'unix:/s'], tls });
  accepted({ listen: '10.0.0.1:7800', insecurePlaintext: true });
  refused({ tls, insecurePlaintext: true }, /insecurePlaintext: there is 'tls'/);
  refused({ tls, peers: { b: 'http://10.0.0.2:1' } }, /peers\.b: http:.* is without TLS.*write https/);
  refused({ peers: { b: 'https://10.0.0.2:1' } }, /peers\.b: https:.* is with TLS, and this agent has none/);
  refused({ listen: 'unix:relative' }, /must be absolute/);
  refused({ listen: `unix:/${'x'.repeat(107)}` }, /at most 107 bytes/);
  refused({ listen: ['unix:/a', 'unix:/b'] }, /at most one port and one unix socket/);
  refused({ listen: '127.0.0.1' }, /must be 'host:port' or 'unix:\/path'/);
  t.end();
});

await t.test('a lab without TLS says so', async (t) => {
  const agent = await start({ listen: '0.0.0.0:0', insecurePlaintext: true });
  t.match((await agent.service.doctor()).findings, [{ code: 'insecure-plaintext', level: 'warning' }]);
  await agent.close();
});
