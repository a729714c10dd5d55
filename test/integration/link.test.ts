import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import t from 'tap';
import { WebSocket } from 'ws';
import { dialControl, dialPageStreams } from '../../agent/link/link-client.js';
import { receivePages } from '../../agent/link/page-receiver.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { encodeRoundEnd } from '../../shared/protocol/frame.js';
import { ended, MIGRATION, startEndpoint, TOKEN } from '../support/link-endpoints.js';
import { SOURCE_SAMPLES, TARGET_SAMPLES } from '../support/link-samples.js';
import { sendUntilFull } from '../support/send-until-full.js';
import { RecordingSink } from '../support/link-sink.js';

/** The link over real sockets, on loopback. */

const SOURCE = { node: 'node-a', to: 'node-b', agent: 'source agent', migrationId: MIGRATION };

async function refusedWith(dial: Promise<unknown>): Promise<MigrationError> {
  const error = await dial.then(
    () => new Error('it was accepted'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MigrationError)) throw error;
  return error;
}

void t.test('control messages go both ways, in order', async (t) => {
  const endpoint = await startEndpoint({ features: ['x', 'y'] });
  t.teardown(() => endpoint.stop());
  const welcomed = endpoint.nextControl();
  const { control, handshake } = await dialControl({ ...SOURCE, url: endpoint.url, features: ['y', 'z'] });
  t.match(handshake, { version: 1, features: ['y'], peer: { node: 'node-b', agent: 'test agent' } });
  const far = await welcomed;
  t.match(far.handshake, { version: 1, features: ['y'], peer: { node: 'node-a' }, migrationId: MIGRATION });
  const heardByTarget: unknown[] = [];
  const heardBySource: unknown[] = [];
  const bothDone = new Promise<void>((resolve) => {
    const check = () => {
      if (heardByTarget.length === SOURCE_SAMPLES.length && heardBySource.length === TARGET_SAMPLES.length) {
        resolve();
      }
    };
    far.control.onMessage((message) => {
      heardByTarget.push(message);
      check();
    });
    control.onMessage((message) => {
      heardBySource.push(message);
      check();
    });
  });
  await Promise.all([
    ...SOURCE_SAMPLES.map((message) => control.send(message)),
    ...TARGET_SAMPLES.map((message) => far.control.send(message)),
  ]);
  await bothDone;
  t.same(heardByTarget, SOURCE_SAMPLES);
  t.same(heardBySource, TARGET_SAMPLES);
  control.close(1000, 'done');
  t.match(await ended(far.control), { code: 1000, reason: 'done', local: false });
  await t.rejects(control.send({ type: 'ask' }), { code: 'link-lost' });
});

void t.test('pages from shared memory arrive in shared memory, over several streams', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const pages = 3000;
  const source = new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE));
  source.set(randomBytes(source.length));
  const target = new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE)).fill(9);
  const streams = 3;
  const connections = await dialPageStreams({ ...SOURCE, url: endpoint.url, streams, token: TOKEN });
  const sink = new RecordingSink([target]);
  const ends = endpoint.pages.map(
    ({ stream, connection }) =>
      new Promise((resolve) => receivePages(connection, stream, sink, 'node-a', resolve)),
  );
  t.same(endpoint.pages.map(({ stream }) => stream).sort(), [0, 1, 2]);
  const sender = new StreamedPageSender(connections, { peer: 'node-b' });
  await sender.sendPages({ region: 0, firstPage: 0, pageCount: 2000 }, source.subarray(0, 2000 * PAGE_SIZE));
  for (let page = 2000; page < 2500; page += 1) {
    const data = source.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    await sender.sendPages({ region: 0, firstPage: page, pageCount: 1 }, data);
  }
  await sender.sendZeroPages({ region: 0, firstPage: 2500, pageCount: 500 });
  source.fill(0, 2500 * PAGE_SIZE);
  await sender.sendRoundEnd(0);
  await sink.roundEnded(0, streams);
  t.equal(Buffer.compare(source, target), 0, 'memory is equal');
  sender.close();
  t.same(await Promise.all(ends), [null, null, null]);
});

void t.test('a slow receiver is felt by the sender, whose memory stays bounded', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const connections = await dialPageStreams({ ...SOURCE, url: endpoint.url, streams: 1, token: TOKEN });
  const far = endpoint.pages[0]?.connection;
  far?.setReadPaused(true);
  const { sender, memory, sending } = await sendUntilFull(t, connections);
  const target = new Uint8Array(new SharedArrayBuffer(memory.length));
  const sink = new RecordingSink([target]);
  if (far) receivePages(far, 0, sink, 'node-a', () => undefined);
  far?.setReadPaused(false);
  await sending;
  await sender.sendRoundEnd(0);
  await sink.roundEnded(0, 1);
  t.equal(Buffer.compare(memory, target), 0);
});

void t.test('a bad message closes its connection with the documented code, and only that one', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const bystander = await dialControl({ ...SOURCE, url: endpoint.url });
  const raw = await rawSocket(`${endpoint.url}/v1/link/control`);
  const refused = endpoint.nextRefused();
  raw.send(Buffer.from('c1', 'hex'));
  const [code, reason] = (await once(raw, 'close')) as [number, Buffer];
  t.equal(code, CLOSE_CODES['bad-message']);
  t.match(reason.toString(), /format byte 0xc1 is not allowed/);
  t.match(await refused, { code: 'bad-message' });
  const early = await rawSocket(`${endpoint.url}/v1/link/control`);
  early.send(Buffer.from('81a474797065a6636f6d6d6974', 'hex'));
  t.equal(((await once(early, 'close')) as [number])[0], CLOSE_CODES['unexpected-message']);
  const text = await rawSocket(`${endpoint.url}/v1/link/control`);
  text.send('hello?');
  t.equal(((await once(text, 'close')) as [number])[0], CLOSE_CODES['bad-message']);
  const huge = await rawSocket(`${endpoint.url}/v1/link/control`);
  huge.send(Buffer.alloc(200 * 1024));
  t.equal(((await once(huge, 'close')) as [number])[0], 1009);
  const long = await rawSocket(`${endpoint.url}/v1/link/control`);
  long.send(Buffer.alloc(70 * 1024));
  t.equal(((await once(long, 'close')) as [number])[0], CLOSE_CODES['bad-message']);
  await endpoint.connectionsLeft(1);
  await bystander.control.send({ type: 'ask' });
});

void t.test('a bad frame closes its stream with the documented code, and only that one', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const [good, bad] = await dialPageStreams({ ...SOURCE, url: endpoint.url, streams: 2, token: TOKEN });
  const sink = new RecordingSink([]);
  const ends = endpoint.pages.map(
    ({ stream, connection }) =>
      new Promise((resolve) => receivePages(connection, stream, sink, 'node-a', resolve)),
  );
  await bad?.send(new Uint8Array(24));
  t.match(bad && (await ended(bad)), { code: CLOSE_CODES['bad-frame'], local: false, reason: /type 0/ });
  await good?.send(encodeRoundEnd(1));
  await sink.roundEnded(1, 1);
  t.match(await ends[1], { code: 'bad-frame' });
});

void t.test('what may not be opened is refused with its error', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const pages = { ...SOURCE, url: endpoint.url, streams: 1 };
  t.match(await refusedWith(dialPageStreams({ ...pages, token: 'another' })), { code: 'not-found' });
  t.match(await refusedWith(dialPageStreams({ ...pages, token: TOKEN, migrationId: 'm-other-0001' })), {
    code: 'not-found',
  });
  t.equal(endpoint.pages.length, 0);
  t.match(await refusedWith(dialPageStreams({ ...pages, token: TOKEN, streams: 17 })), {
    code: 'invalid-request',
    message: /stream: must be 0 to 15/,
  });
  const wrong = await refusedWith(dialControl({ ...SOURCE, to: 'node-c', url: endpoint.url }));
  t.match(wrong, { code: 'wrong-node', message: /node node-b answers where node-c was meant/ });
  const versions = { min: 7, max: 9 };
  t.match(await refusedWith(dialControl({ ...SOURCE, versions, url: endpoint.url })), {
    code: 'version-unsupported',
    message: /update the older agent/,
  });
  t.equal(await statusOf(`${endpoint.url}/v1/link/nothing`), 404);
  t.equal(await statusOf(`${endpoint.url}/v1/link/pages`), 400);
  t.equal(await statusOf(`${endpoint.url}/v1/link/control`, { origin: 'http://evil.example' }), 400);
});

void t.test('connections and handshakes are limited', async (t) => {
  const endpoint = await startEndpoint({
    limits: { maxHandshakes: 1, maxControlConnections: 2, maxPageConnections: 1 },
  });
  t.teardown(() => endpoint.stop());
  const silent = await rawSocket(`${endpoint.url}/v1/link/control`);
  t.match(await refusedWith(dialControl({ ...SOURCE, url: endpoint.url })), {
    code: 'limit-exceeded',
    retryable: true,
    message: /handshakes/,
  });
  silent.terminate();
  // until the server has seen it go
  for (let opened = false; !opened;) {
    opened = await dialControl({ ...SOURCE, url: endpoint.url }).then(
      () => true,
      () => false,
    );
  }
  await dialControl({ ...SOURCE, url: endpoint.url });
  t.match(await refusedWith(dialControl({ ...SOURCE, url: endpoint.url })), {
    code: 'limit-exceeded',
    message: /2 control connections/,
  });
  // those who wait have taken all of theirs, and the one that has the node is let in all the same
  const pages = (streams: number) => dialPageStreams({ ...SOURCE, url: endpoint.url, streams, token: TOKEN });
  await pages(1);
  t.match(await refusedWith(pages(1)), { code: 'limit-exceeded', message: /1 page connections/ });
});

void t.test('a handshake that does not come times out', async (t) => {
  const endpoint = await startEndpoint({ handshakeTimeoutMs: 20 });
  t.teardown(() => endpoint.stop());
  const silent = await rawSocket(`${endpoint.url}/v1/link/control`);
  t.equal(((await once(silent, 'close')) as [number])[0], CLOSE_CODES.timeout);
});

void t.test('a peer that cannot be reached is named, with the reason', async (t) => {
  const nobody = createServer();
  nobody.listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address() as AddressInfo;
  nobody.close();
  await once(nobody, 'close');
  t.match(await refusedWith(dialControl({ ...SOURCE, url: `http://127.0.0.1:${port}` })), {
    code: 'peer-unreachable',
    message: new RegExp(`node node-b cannot be reached at http://127.0.0.1:${port}: .*ECONNREFUSED`),
  });
  t.match(await refusedWith(dialControl({ ...SOURCE, url: 'node-b:7800' })), { code: 'peer-unreachable' });
});

void t.test('something else that answers is told apart', async (t) => {
  const web = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'));
  });
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  t.teardown(() => web.close());
  const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  t.match(await refusedWith(dialControl({ ...SOURCE, url })), {
    code: 'peer-unreachable',
    message: /no vmferry agent \(HTTP status 200\)/,
  });
});

void t.test('a peer that accepts and says nothing, and an abort', async (t) => {
  const sockets: Socket[] = [];
  const mute = createServer((socket) => sockets.push(socket));
  mute.listen(0, '127.0.0.1');
  await once(mute, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const url = `http://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  t.match(await refusedWith(dialControl({ ...SOURCE, url, connectTimeoutMs: 30 })), {
    code: 'peer-unreachable',
  });
  const abort = new AbortController();
  const dialling = dialControl({ ...SOURCE, url, signal: abort.signal });
  abort.abort(new MigrationError('cancelled', 'cancelled by the operator'));
  t.match(await refusedWith(dialling), { code: 'cancelled' });
});

void t.test('a peer that falls silent is given up; both sides that are idle live on', async (t) => {
  const heartbeat = { intervalMs: 10, timeoutMs: 100 };
  const endpoint = await startEndpoint({ heartbeat });
  t.teardown(() => endpoint.stop());
  const idle = await dialControl({ ...SOURCE, url: endpoint.url, heartbeat });
  const silenced = await dialControl({ ...SOURCE, url: `${await relay(t, endpoint.url)}`, heartbeat });
  const [, far] = endpoint.controls;
  stopRelay();
  t.match(await ended(silenced.control), {
    code: CLOSE_CODES['link-lost'],
    local: true,
    reason: /nothing was heard of node-b for 100 ms/,
  });
  t.match(far && (await ended(far.control)), { code: CLOSE_CODES['link-lost'], local: true });
  await endpoint.connectionsLeft(1);
  await idle.control.send({ type: 'ask' });
});

void t.test('a connection that breaks is link-lost for what is being sent', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const url = await relay(t, endpoint.url);
  const [connection] = await dialPageStreams({ ...SOURCE, url, streams: 1, token: TOKEN });
  if (!connection) return t.fail('no connection');
  const sender = new StreamedPageSender([connection], { peer: 'node-b' });
  stopRelay();
  const pages = 32_768;
  const sending = sender.sendPages(
    { region: 0, firstPage: 0, pageCount: pages },
    new Uint8Array(pages * PAGE_SIZE),
  );
  cutRelay();
  await t.rejects(sending, { code: 'link-lost', message: /node-b/ });
  await t.rejects(connection.send(new Uint8Array(1)), { code: 'link-lost' });
});

void t.test('a server that closes says so and refuses', async (t) => {
  const endpoint = await startEndpoint();
  const { control } = await dialControl({ ...SOURCE, url: endpoint.url });
  const closed = ended(control);
  await endpoint.link.close();
  t.match(await closed, { code: CLOSE_CODES['shutting-down'], local: false });
  await t.rejects(
    dialControl({ ...SOURCE, url: endpoint.url }),
    { code: 'shutting-down' },
    'as long as it is there',
  );
  await endpoint.stop();
});

void t.test('a peer that does not answer a close is dropped', async (t) => {
  const endpoint = await startEndpoint();
  t.teardown(() => endpoint.stop());
  const timers: Timers = {
    now: () => systemTimers.now(),
    after: (ms, callback) => systemTimers.after(ms / 50, callback),
  };
  const { control } = await dialControl({ ...SOURCE, timers, url: await relay(t, endpoint.url) });
  stopRelay();
  control.close(CLOSE_CODES.cancelled, 'x'.repeat(500));
  const end = await ended(control);
  t.match(end, { code: CLOSE_CODES.cancelled, local: true });
  t.equal(end.reason.length, 123);
});

async function rawSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), { perMessageDeflate: false });
  await once(socket, 'open');
  return socket;
}

async function statusOf(url: string, headers: Record<string, string> = {}): Promise<number | undefined> {
  const asking = request(url, {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
      ...headers,
    },
  });
  asking.end();
  const [response] = (await once(asking, 'response')) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

/** A TCP relay in front of `url` whose traffic can be stopped without a close, and cut. */
let stopRelay = () => {};
let cutRelay = () => {};
async function relay(t: { teardown(callback: () => void): void }, url: string): Promise<string> {
  const pairs: [Socket, Socket][] = [];
  const server = createServer((near) => {
    const far = connect(Number(new URL(url).port), '127.0.0.1');
    pairs.push([near, far]);
    near.on('error', () => undefined).pipe(far);
    far.on('error', () => undefined).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stopRelay = () => {
    for (const [near, far] of pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  };
  cutRelay = () => {
    for (const socket of pairs.flat()) socket.destroy();
  };
  t.teardown(() => {
    for (const socket of pairs.flat()) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
