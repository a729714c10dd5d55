import { EventEmitter, once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { FastifyReply } from 'fastify';
import t from 'tap';
import { EventStreams } from '../../agent/api/event-streams.js';
import { API_LIMITS } from '../../agent/api/limits.js';
import { MigrationError } from '../../shared/errors.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import { completedMigration, consoleChunk, linkTestResult, MIGRATION_ID } from '../support/api-samples.js';
import { listeningServer } from '../support/api-server.js';

const EVENTS = `/v1/migrations/${MIGRATION_ID}/events`;
const CONSOLE = '/v1/guests/web-1/console?follow=true';

interface Stream {
  readonly events: AsyncGenerator<EventSourceMessage & { comment?: string }>;
  readonly close: () => void;
}

async function open(url: string, headers: Record<string, string> = {}): Promise<Stream> {
  const closing = new AbortController();
  const response = await fetch(url, { headers, signal: closing.signal });
  if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
  async function* read(): AsyncGenerator<EventSourceMessage & { comment?: string }> {
    const arrived: (EventSourceMessage & { comment?: string })[] = [];
    const parser = createParser({
      onEvent: (event) => arrived.push(event),
      onComment: (comment) => arrived.push({ data: '', comment }),
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      yield* arrived.splice(0);
    }
  }
  return { events: read(), close: () => closing.abort() };
}

async function all(stream: Stream): Promise<EventSourceMessage[]> {
  const events: EventSourceMessage[] = [];
  for await (const event of stream.events) events.push(event);
  return events;
}

/** A client that asks and then reads nothing. */
async function deafClient(port: number, path: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
  return socket;
}

await t.test('migration events are numbered, and resume where a client was', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const script = completedMigration();
  const stream = await open(url + EVENTS);
  service.eventLog.push(...script.slice(0, 3));
  const first = await stream.events.next();
  t.match(first.value, { event: 'phase', id: '0' }, 'events arrive before the stream ends');
  service.eventLog.push(...script.slice(3)).end(null);
  const rest = await all(stream);
  t.same(
    [first.value, ...rest].map((event) => JSON.parse((event as EventSourceMessage).data) as unknown),
    script,
  );
  t.equal(rest.at(-1)?.event, 'ended');

  const resumed = await all(await open(url + EVENTS, { 'last-event-id': '4' }));
  t.same(
    resumed.map(({ id }) => id),
    script.slice(5).map(({ seq }) => String(seq)),
    'nothing twice, nothing lost',
  );
});

await t.test('a followed console ends with why', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const end = { reason: 'moved', to: { node: 'b', url: 'http://b:7800' } } as const;
  service.consoleLog.push(consoleChunk(0, 'one\n'), consoleChunk(4, 'zw\u00f6lf\n')).end(end);
  const events = await all(await open(url + CONSOLE));
  t.same(
    events.map(({ event, id, data }) => [event, id, JSON.parse(data) as unknown]),
    [
      ['chunk', '4', consoleChunk(0, 'one\n')],
      ['chunk', '10', consoleChunk(4, 'zw\u00f6lf\n')],
      ['end', undefined, end],
    ],
    'ids are positions after the chunk',
  );
  const resumed = await all(await open(url + CONSOLE, { 'last-event-id': '4' }));
  t.same(
    resumed.map(({ event }) => event),
    ['chunk', 'end'],
  );
});

await t.test('a failure within a stream is an event, a defect tells nothing of the inside', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  service.eventLog.push(...completedMigration().slice(0, 1));
  service.eventLog.fail(new MigrationError('guest-failed', 'the worker of VM web-1 ended'));
  const events = await all(await open(url + EVENTS));
  t.match(events.at(-1), { event: 'error' });
  t.same(JSON.parse(events.at(-1)?.data ?? ''), {
    code: 'guest-failed',
    message: 'the worker of VM web-1 ended',
    retryable: false,
  });
  service.failures.set('console', new TypeError('secret of the inside'));
  const failed = await all(await open(url + CONSOLE));
  t.match(failed, [{ event: 'error', data: /internal/ }]);
  t.notMatch(failed, [{ data: /secret/ }]);
});

await t.test('an idle stream carries comments', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service, { heartbeatMs: 1 });
  t.teardown(() => app.close());
  const stream = await open(url + EVENTS);
  t.match(await stream.events.next(), { value: { comment: 'alive' } });
  stream.close();
  await service.eventLog.until((log) => log.readers === 0);
});

await t.test('a client that goes away ends its subscription', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  service.eventLog.push(...completedMigration().slice(0, 1));
  const stream = await open(url + EVENTS);
  await stream.events.next();
  t.equal(service.eventLog.readers, 1);
  stream.close();
  await service.eventLog.until((log) => log.readers === 0);
  t.pass('the signal of the subscription fired');
});

await t.test('a client that does not read is dropped, and holds one event at most', async (t) => {
  const service = new FakeAgentService();
  const { app, port } = await listeningServer(service, { drainTimeoutMs: 20 });
  t.teardown(() => app.close());
  const text = 'x'.repeat(1024 * 1024);
  // far more than the buffers of both sockets take
  const chunks = 64;
  for (let n = 0; n < chunks; n++) service.consoleLog.push(consoleChunk(n * text.length, text));
  const socket = await deafClient(port, CONSOLE);
  t.teardown(() => socket.destroy());
  await service.consoleLog.until((log) => log.readers === 1);
  await service.consoleLog.until((log) => log.readers === 0);
  socket.resume();
  await once(socket, 'close');
  t.ok(socket.bytesRead < chunks * text.length, 'it was not sent everything');
});

await t.test('a client that is gone by the time of a write frees its place', async (t) => {
  const streams = new EventStreams({ ...API_LIMITS, drainTimeoutMs: 1 });
  const response = Object.assign(new EventEmitter(), {
    writable: false,
    writableNeedDrain: true,
    writeHead: () => undefined,
    flushHeaders: () => undefined,
    write: () => {
      response.emit('close');
      return false;
    },
    destroy: () => undefined,
    end: () => undefined,
  });
  async function* source() {
    yield await Promise.resolve({ event: 'chunk', data: 'x' });
  }
  await streams.serve({ raw: response, hijack: () => undefined } as unknown as FastifyReply, source);
  t.equal(streams.count, 0);
});

await t.test('streams are bounded in number', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service, { eventStreams: 2 });
  t.teardown(() => app.close());
  const first = await open(url + EVENTS);
  const second = await open(url + CONSOLE);
  const refused = await fetch(url + EVENTS);
  t.equal(refused.status, 429);
  t.match(await refused.json(), {
    error: { code: 'limit-exceeded', message: /2 event streams/ },
  });
  first.close();
  await service.eventLog.until((log) => log.readers === 0);
  const third = await open(url + EVENTS);
  t.pass('a place that became free is used again');
  second.close();
  third.close();
});

await t.test('a shutdown ends streams in words and refuses others', async (t) => {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  service.eventLog.push(...completedMigration().slice(0, 1));
  const stream = await open(url + EVENTS);
  await stream.events.next();
  await app.close();
  t.match(await all(stream), [{ event: 'error', data: /shutting-down/ }]);
  await service.eventLog.until((log) => log.readers === 0);
});

await t.test('a shutdown does not wait for a connection on which nothing was ever sent', async (t) => {
  const { app, port } = await listeningServer(new FakeAgentService());
  const accepted = once(app.server, 'connection');
  const socket = connect({ host: '127.0.0.1', port });
  t.teardown(() => socket.destroy());
  const closed = once(socket, 'close');
  await accepted;
  await app.close();
  socket.resume();
  await closed;
  t.pass('it was closed by the agent');
});

await t.test('what is no HTTP is answered in the same form', async (t) => {
  const { app, port } = await listeningServer(new FakeAgentService());
  t.teardown(() => app.close());
  const socket = connect({ host: '127.0.0.1', port });
  socket.setEncoding('utf8');
  socket.end('\u0001\u0002 nonsense\r\n\r\n');
  let answer = '';
  socket.on('data', (text: string) => (answer += text));
  await once(socket, 'close');
  t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
  t.match(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), { error: { code: 'invalid-request' } });
});

await t.test('a request that is answered while the server closes leaves no connection behind', async (t) => {
  const service = new FakeAgentService();
  let asked!: () => void;
  let answer!: () => void;
  const underWay = new Promise<void>((resolve) => (asked = resolve));
  const held = new Promise<void>((resolve) => (answer = resolve));
  service.testLink = async () => {
    asked();
    await held;
    return linkTestResult();
  };
  const { app, port } = await listeningServer(service);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const headers = { 'content-type': 'application/json' };
  const asking = request({ agent, host: '127.0.0.1', port, method: 'POST', path: '/v1/link-tests', headers });
  asking.end('{"to": "b"}');
  await underWay;
  const closing = new Promise<void>((resolve) => app.server.once('close', resolve));
  const closed = app.close();
  while (app.server.listening) await new Promise((resolve) => setImmediate(resolve));
  answer();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  t.match(response, { statusCode: 200, headers: { connection: 'close' } });
  response.resume();
  await Promise.all([closing, closed]);
});
