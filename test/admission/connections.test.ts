import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { API_LIMITS, type ApiLimits } from '../../agent/api/limits.js';
import { MAX_JSON_DEPTH, MAX_JSON_VALUES } from '../../agent/api/json-body.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { guestInfo } from '../support/api-samples.js';
import { listeningServer } from '../support/api-server.js';

/** Clients without manners, on real sockets. */

const GET = 'GET /v1/node HTTP/1.1\r\nHost: a\r\n\r\n';

async function server(t: Test, limits: Partial<ApiLimits>, service = new FakeAgentService()) {
  const { app, port, url } = await listeningServer(service, limits);
  const clients = new Set<Socket>();
  t.teardown(async () => {
    for (const socket of clients) socket.destroy();
    await app.close();
  });
  /** Connects from an address of the loopback, and says something. */
  const client = async (from: string, text = ''): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from });
    clients.add(socket);
    socket.on('error', () => undefined);
    socket.setEncoding('utf8');
    await once(socket, 'connect');
    socket.write(text);
    return socket;
  };
  return { app, url, port, client };
}

/** All that is said to it until the connection ends. */
async function heard(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (piece: string) => (text += piece));
  if (!socket.closed) await once(socket, 'close');
  return text;
}

/** The first piece of an answer. */
async function answered(socket: Socket): Promise<string> {
  const [text] = (await once(socket, 'data')) as [string];
  return text;
}

await t.test('one address has so many connections; others still get in', async (t) => {
  const { client } = await server(t, { connectionsPerAddress: 2 });
  const held = [await client('127.0.0.2', GET), await client('127.0.0.2', GET)];
  for (const socket of held) t.match(await answered(socket), /200/);
  const refused = await heard(await client('127.0.0.2', GET));
  t.match(refused, /^HTTP\/1\.1 429 /);
  t.match(refused, /limit-exceeded.*127\.0\.0\.2 has 2 connections/);
  t.match(await answered(await client('127.0.0.3', GET)), /200/);
  held[0]!.destroy();
  let status = '';
  while (!status.includes('200'))
    status = (
      await heard(await client('127.0.0.2', GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')))
    ).slice(0, 15);
  t.match(status, /200/, 'a place that became free is used again');
});

await t.test('what is refused and does not go is closed, and beyond a number not even told', async (t) => {
  const { client } = await server(t, { connectionsPerAddress: 1, refusedConnections: 1, refusalMs: 50 });
  t.match(await answered(await client('127.0.0.2', GET)), /200/);
  const [silent, more] = await Promise.all([client('127.0.0.2'), client('127.0.0.2')]);
  t.same([await heard(silent), await heard(more)], ['', '']);
});

await t.test('a full agent ends the connection that has done nothing for the longest', async (t) => {
  const { client } = await server(t, { connections: 3 });
  const [first, second, third] = [
    await client('127.0.0.2'),
    await client('127.0.0.2', 'GET /v1'),
    await client('127.0.0.2', GET),
  ];
  t.match(await answered(third), /200/);
  t.match(await answered(await client('127.0.0.3', GET)), /200/);
  t.equal(await heard(first), '', 'the oldest made room');
  t.match(await answered(await client('127.0.0.3', GET)), /200/);
  t.equal(await heard(second), '', 'then the next');
});

await t.test('where all are in use there is none to make room', async (t) => {
  const service = new FakeAgentService();
  const { client } = await server(t, { connections: 1 }, service);
  const following = await client(
    '127.0.0.2',
    'GET /v1/guests/web-1/console?follow=true HTTP/1.1\r\nHost: a\r\n\r\n',
  );
  t.match(await answered(following), /200/);
  t.match(await heard(await client('127.0.0.3', GET)), /429 .*limit-exceeded.*has 1 connections/s);
});

await t.test('slow headers, a slow body and silence are dropped', async (t) => {
  const { client } = await server(t, { headersTimeoutMs: 200, requestTimeoutMs: 300, timeoutCheckMs: 20 });
  const trickle = (socket: Socket) => {
    const timer = setInterval(() => socket.write('x'), 20);
    socket.once('close', () => clearInterval(timer));
    return socket;
  };
  const [silent, headers, body] = await Promise.all([
    client('127.0.0.2').then(heard),
    client('127.0.0.2', 'GET /v1/node HTTP/1.1\r\nX: ').then(trickle).then(heard),
    client(
      '127.0.0.2',
      'POST /v1/migrations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"',
    )
      .then(trickle)
      .then(heard),
  ]);
  for (const answer of [silent, headers, body]) {
    t.match(answer, /^HTTP\/1\.1 408 .*took too long to arrive: 0\.2 s for its headers and 0\.3 s in all/s);
  }
});

await t.test('a client that is told why does not keep half a connection', async (t) => {
  const { app, port } = await server(t, {});
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  const accepted = once(app.server, 'connection') as Promise<[Socket]>;
  socket.write('\u0001 nonsense\r\n\r\n');
  const [theirs] = await accepted;
  await once(theirs, 'close');
  t.pass('the agent has let it go');
});

await t.test('an answer that is not taken ends the connection', async (t) => {
  const service = new FakeAgentService();
  const many = Array.from({ length: 100_000 }, () => guestInfo());
  service.guests = () => many;
  const { app, client } = await server(t, { responseTimeoutMs: 50 }, service);
  const accepted = once(app.server, 'connection') as Promise<[Socket]>;
  const deaf = await client('127.0.0.2');
  deaf.pause();
  const [theirs] = await accepted;
  deaf.write('GET /v1/guests HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(theirs, 'close');
  t.ok(deaf.bytesRead < JSON.stringify(many).length, 'it was not sent all of it');
});

await t.test('headers that are too large, the URL among them', async (t) => {
  const { client } = await server(t, {});
  const long = await heard(
    await client('127.0.0.2', `GET /${'x'.repeat(API_LIMITS.headerBytes)} HTTP/1.1\r\n\r\n`),
  );
  t.match(long, /^HTTP\/1\.1 431 .*16384 bytes, the URL included, are the limit/s);
});

await t.test('JSON that is too deep or has too many values is refused before it is parsed', async (t) => {
  const { url } = await server(t, {});
  const post = async (body: string) => {
    const response = await fetch(`${url}/v1/guests`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    return [response.status, await response.text()];
  };
  const deep = '['.repeat(MAX_JSON_DEPTH + 1);
  t.match(await post(deep), [400, /nested more than 16 deep, the limit/]);
  t.match(await post(`[${'{},'.repeat(MAX_JSON_VALUES)}0]`), [400, /more than 10000 values, the limit/]);
  const text = `{"definition": "${'[\\"{'.repeat(MAX_JSON_VALUES)}"}`;
  t.match(await post(text), [400, /the VM definition is not valid/], 'what is in a text counts for nothing');
});

await t.test('so many large bodies at once', async (t) => {
  const { app, client } = await server(t, { largeBodies: 1 });
  const head = (length: number) =>
    `POST /v1/guests HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{`;
  const arrived = once(app.server, 'request');
  const slow = await client('127.0.0.2', head(2 ** 20));
  await arrived;
  t.match(
    await answered(await client('127.0.0.3', head(2 ** 20))),
    /429 .*1 definitions with a program image/s,
  );
  t.match(await answered(await client('127.0.0.3', head(1))), /400/, 'a small one passes');
  slow.destroy();
});

await t.test('event streams of one address', async (t) => {
  const { client } = await server(t, { eventStreamsPerAddress: 1 });
  const ask = 'GET /v1/guests/web-1/console?follow=true HTTP/1.1\r\nHost: a\r\n\r\n';
  t.match(await answered(await client('127.0.0.2', ask)), /200/);
  const second = await client('127.0.0.2', ask);
  t.match(await answered(second), /429/);
  t.match(await answered(await client('127.0.0.3', ask)), /200/);
});
