import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { PAGE_STREAM_PATH, PAGE_STREAM_PROTOCOL } from '../../agent/link/link-paths.js';
import type { LinkServerOptions } from '../../agent/link/link-server.js';
import { streamDecoder } from '../../agent/link/page-receiver.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { dialTcpPages, type PageIntake, type TcpPagesOptions } from '../../agent/link/tcp-pages.js';
import { PageOffers } from '../../agent/source/page-offers.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { encodePagesHeader, encodeRoundEnd } from '../../shared/protocol/frame.js';
import { MIGRATION, startEndpoint, TOKEN } from '../support/link-endpoints.js';
import { sendUntilFull } from '../support/send-until-full.js';
import { RecordingSink } from '../support/link-sink.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';
import { refusedUpgrade } from '../support/raw-peer.js';

/** Page streams over plain TCP, on loopback: the target dials. */

const ACCEPTED = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\n\r\n`;

/** A sink over a region that can be read into in place, and what came to each. */
class PlacingRegion extends RecordingSink {
  readonly memory: Uint8Array;
  placed = 0;
  copied = 0;

  constructor(pages: number) {
    const memory = new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE)).fill(9);
    super([memory]);
    this.memory = memory;
  }

  place(_stream: number, _region: number, offset: number, bytes: number): Uint8Array {
    this.placed += 1;
    return this.memory.subarray(offset, offset + bytes);
  }

  override payload(stream: number, region: number, offset: number, chunk: Uint8Array): void {
    this.copied += chunk.length;
    super.payload(stream, region, offset, chunk);
  }
}

/** Everything that a dial tells. */
function dialled(url: string, intake: PageIntake, options: Partial<TcpPagesOptions> = {}) {
  let onEnd!: (error: MigrationError | null) => void;
  const ended = new Promise<MigrationError | null>((resolve) => (onEnd = resolve));
  const opened = dialTcpPages({
    ...{ url, peer: 'node node-a', migrationId: MIGRATION, stream: 0, token: TOKEN, intake, onEnd },
    ...options,
  });
  return { opened, ended };
}

const nowhere: PageIntake = {
  space: () => null,
  filled: () => undefined,
  write: () => undefined,
  atBoundary: true,
};

async function refusal(dial: Promise<unknown>): Promise<MigrationError> {
  const error: unknown = await dial.then(
    () => new Error('it was opened'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MigrationError)) throw error;
  return error;
}

/** A source with one offer of pages. */
async function startSource(t: Test, streams: number, options: Partial<LinkServerOptions> = {}) {
  const offers = new PageOffers();
  const offer = offers.offer(MIGRATION, streams, 'node-b');
  const endpoint = await startEndpoint({
    authorizePageStream: (id, stream, token, peer) => offers.authorize(id, stream, token, peer),
    ...options,
  });
  t.teardown(() => endpoint.stop());
  return { ...endpoint, offers, offer };
}

/** A server that does with each connection, once the request is there, what the test says. */
async function startRaw(t: Test, serve: (socket: Socket, request: string) => void) {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let request = '';
    socket.on('data', (data: Buffer) => {
      const before = request.includes('\r\n\r\n');
      request += data.toString('latin1');
      if (!before && request.includes('\r\n\r\n')) serve(socket, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

void t.test('pages arrive byte for byte: large frames in place, small ones by way of a buffer', async (t) => {
  const streams = 3;
  const source = await startSource(t, streams);
  const pages = 3000;
  const memory = new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE));
  memory.set(randomBytes(memory.length));
  const sink = new PlacingRegion(pages);
  const { token } = source.offer;
  const dials = Array.from({ length: streams }, (_, stream) =>
    dialled(source.url, streamDecoder(stream, sink), { token, stream }),
  );
  await Promise.all(dials.map(({ opened }) => opened));
  t.equal(source.link.connections, streams);
  const sender = new StreamedPageSender(source.offer.take(), { peer: 'node-b' });
  await sender.sendPages({ region: 0, firstPage: 0, pageCount: 2000 }, memory.subarray(0, 2000 * PAGE_SIZE));
  for (let page = 2000; page < 2500; page += 1) {
    const data = memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    await sender.sendPages({ region: 0, firstPage: page, pageCount: 1 }, data);
  }
  await sender.sendZeroPages({ region: 0, firstPage: 2500, pageCount: 500 });
  memory.fill(0, 2500 * PAGE_SIZE);
  await sender.sendRoundEnd(0);
  await sink.roundEnded(0, streams);
  t.equal(Buffer.compare(memory, sink.memory), 0, 'memory is equal');
  t.ok(sink.placed > 0, `${sink.placed} reads in place`);
  t.ok(sink.copied >= 500 * PAGE_SIZE, 'small frames go by way of the buffer');
  t.ok(sink.copied < 1500 * PAGE_SIZE, `${sink.copied} of ${memory.length} bytes were copied`);
  sender.close();
  t.same(await Promise.all(dials.map(({ ended }) => ended)), [null, null, null]);
  await source.connectionsLeft(0);
});

void t.test('frames that come together with the answer, and in crumbs after it', async (t) => {
  const page = randomBytes(PAGE_SIZE);
  const big = randomBytes(40 * PAGE_SIZE);
  const stream = Buffer.concat([
    encodePagesHeader({ region: 0, firstPage: 1, pageCount: 1 }),
    page,
    encodePagesHeader({ region: 0, firstPage: 2, pageCount: 40 }),
    big,
    encodeRoundEnd(0),
  ]);
  const expected = Buffer.concat([Buffer.alloc(PAGE_SIZE, 9), page, big, Buffer.alloc(PAGE_SIZE, 9)]);
  // within the answer, at its end, in the first header, in its payload, behind the frame, in the large one, behind all
  for (const first of [5, ACCEPTED.length, ACCEPTED.length + 10, 2000, 5000, 90_000, Infinity]) {
    const url = await startRaw(t, (socket) => {
      socket.setNoDelay();
      const all = Buffer.concat([Buffer.from(ACCEPTED), stream]);
      socket.write(all.subarray(0, first));
      setImmediate(() => socket.end(all.subarray(first)));
    });
    const sink = new PlacingRegion(43);
    const { opened, ended } = dialled(url, streamDecoder(0, sink));
    await opened;
    t.equal(await ended, null, `${first} bytes first`);
    t.equal(Buffer.compare(sink.memory, expected), 0);
    t.match(sink.events.at(-1), { roundEnd: 0 });
  }
});

void t.test('what may not be opened is refused with the error of the agent', async (t) => {
  const source = await startSource(t, 2);
  const { token } = source.offer;
  const dial = (options: Partial<TcpPagesOptions>) =>
    refusal(dialled(source.url, nowhere, { token, ...options }).opened);
  const refused = source.nextRefused();
  t.match(await dial({ token: 'another' }), { code: 'not-found', message: /^node node-a refused: / });
  t.match(await refused, { code: 'not-found' }, 'the source logs it');
  t.match(await dial({ token: '' }), { code: 'not-found' });
  t.match(await dial({ migrationId: 'm-other-0001' }), { code: 'not-found' });
  t.match(await dial({ migrationId: '../../v1/vms' }), { code: 'invalid-request' });
  t.match(await dial({ stream: 2 }), { code: 'wrong-state' }, 'more than were offered');
  t.match(await dial({ stream: 16 }), { code: 'invalid-request', message: /stream: must be 0 to 15/ });
  t.match(await dial({ stream: -1 }), { code: 'invalid-request' });
  const first = await dialled(source.url, nowhere, { token }).opened;
  t.match(await dial({}), { code: 'wrong-state', message: /open already/ });
  first.close();
  await source.connectionsLeft(0);
  const again = await dialled(source.url, nowhere, { token }).opened;
  again.close();
  source.offer.withdraw();
  t.match(await dial({}), { code: 'not-found' }, 'the offer was withdrawn');

  const path = `${PAGE_STREAM_PATH}?migration=${MIGRATION}&stream=0`;
  const upgrade = { upgrade: PAGE_STREAM_PROTOCOL };
  t.match(await refusedUpgrade(source.url, path, { ...upgrade, origin: 'http://evil.example' }), {
    status: 400,
    error: { code: 'invalid-request', message: /not for browsers/ },
  });
  t.match(await refusedUpgrade(source.url, path), {
    status: 400,
    error: { code: 'invalid-request', message: /Upgrade: must be vmferry-pages/ },
  });
  t.match(await refusedUpgrade(source.url, path, upgrade), { status: 404, error: { code: 'not-found' } });
  t.equal((await fetch(source.url + path)).status, 200, 'without an upgrade it is no matter of the link');
  await source.connectionsLeft(0);
});

void t.test('an agent without page streams, with too many, and one that shuts down', async (t) => {
  const without = await startEndpoint();
  t.teardown(() => without.stop());
  t.match(await refusal(dialled(without.url, nowhere).opened), { code: 'not-found' });
  const full = await startSource(t, 2, { limits: { maxPageConnections: 1 } });
  const { token } = full.offer;
  const { opened, ended } = dialled(full.url, nowhere, { token });
  await opened;
  t.match(await refusal(dialled(full.url, nowhere, { token, stream: 1 }).opened), { code: 'limit-exceeded' });
  await full.link.close();
  t.match(await ended, { code: 'link-lost' }, 'an end that is none in good order');
});

void t.test('something else that answers is told apart, also where it keeps the connection', async (t) => {
  const answers: [string, RegExp, boolean][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', /HTTP status 200/, false],
    ['HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', /HTTP status 404/, false],
    ['HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>', /HTTP status 502/, true],
    ['HTTP/1.1 101 Switching', /HTTP status 101/, true],
    ['SSH-2.0-OpenSSH_9.2\r\n', /HTTP status none/, true],
    ['', /HTTP status none/, true],
    ['x'.repeat(20_000), /HTTP status none/, false],
    [`HTTP/1.1 101 OK\r\nX: ${'y'.repeat(20_000)}`, /HTTP status 101/, false],
  ];
  for (const [answer, message, end] of answers) {
    const url = await startRaw(t, (socket) => void (end ? socket.end(answer) : socket.write(answer)));
    // with no limit of time
    const timers = new VirtualTimers();
    const error = await refusal(dialled(url, nowhere, { timers }).opened);
    t.match(error, { code: 'peer-unreachable', message });
    t.match(error.message, /correct the address of node node-a/);
    t.equal(timers.pending, 0);
  }
});

void t.test('an answer that comes byte by byte, and one that never ends', async (t) => {
  const bytes = Buffer.concat([Buffer.from(ACCEPTED), encodeRoundEnd(4)]);
  const dribble = await startRaw(t, (socket) => {
    socket.setNoDelay();
    let at = 0;
    const next = () => {
      at += 1;
      if (at > bytes.length) socket.end();
      else socket.write(bytes.subarray(at - 1, at), () => setImmediate(next));
    };
    next();
  });
  const sink = new RecordingSink([]);
  const { opened, ended } = dialled(dribble, streamDecoder(0, sink));
  await opened;
  t.equal(await ended, null);
  t.same(sink.events, [{ roundEnd: 4, stream: 0 }]);
  let written = 0;
  const endless = await startRaw(t, (socket) => {
    socket.on('close', () => (written = socket.bytesWritten));
    const more = () => {
      if (!socket.destroyed) socket.write('HTTP/1.1 200 OK\r\nX: y\r\n'.repeat(100), more);
    };
    more();
  });
  t.match(await refusal(dialled(endless, nowhere, { timers: new VirtualTimers() }).opened), {
    code: 'peer-unreachable',
  });
  t.ok(written < 16 * 2 ** 20, 'it is not read on');
});

void t.test('silence has a limit of time, and an answer that was begun is told', async (t) => {
  for (const [answer, expected] of [
    ['', { code: 'timeout', message: /node node-a did not answer at http:.* within 2000 ms/ }],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      { code: 'peer-unreachable', message: /status 200/ },
    ],
  ] as const) {
    const timers = new VirtualTimers();
    let asked!: () => void;
    const request = new Promise<void>((resolve) => (asked = resolve));
    const url = await startRaw(t, (socket) => {
      if (answer === '') asked();
      else socket.write(answer, asked);
    });
    const dial = refusal(dialled(url, nowhere, { timers }).opened);
    await request;
    await timers.advance(1999);
    t.equal(timers.pending, 1, 'it waits');
    await timers.advance(1);
    t.match(await dial, expected);
  }
  const url = await startRaw(t, (socket) => void socket.write(ACCEPTED));
  const timers = new VirtualTimers();
  const pages = await dialled(url, nowhere, { timers }).opened;
  t.equal(timers.pending, 0, 'an open stream may be silent');
  pages.close();
});

void t.test('nobody there', async (t) => {
  const nobody = createServer();
  nobody.listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address() as AddressInfo;
  nobody.close();
  await once(nobody, 'close');
  for (const host of ['127.0.0.1', 'localhost', '[::1]', 'no.such.host.invalid']) {
    const error = await refusal(dialled(`http://${host}:${port}`, nowhere).opened);
    t.match(error, {
      code: 'peer-unreachable',
      retryable: true,
      message: /^node node-a cannot be reached at/,
    });
  }
});

void t.test('a source that has several addresses is reached at the one where it listens', async (t) => {
  const { url, offer } = await startSource(t, 1);
  const memory = randomBytes(64 * PAGE_SIZE);
  const sink = new PlacingRegion(64);
  const host = url.replace('127.0.0.1', 'localhost');
  const { opened, ended } = dialled(host, streamDecoder(0, sink), { token: offer.token });
  await opened;
  const sender = new StreamedPageSender(offer.take(), { peer: 'node-b' });
  await sender.sendPages({ region: 0, firstPage: 0, pageCount: 64 }, memory);
  await sender.sendRoundEnd(0);
  sender.close();
  t.equal(await ended, null);
  t.equal(Buffer.compare(sink.memory, memory), 0);
});

void t.test('how a stream ends: at a boundary, within a frame, by a reset', async (t) => {
  const header = encodePagesHeader({ region: 0, firstPage: 0, pageCount: 16 });
  const half = Buffer.concat([header, randomBytes(8 * PAGE_SIZE)]);
  const lost = /page stream 0 from node node-a was lost: .*ECONNRESET/;
  const cases: [string, Uint8Array, 'end' | 'reset', object | null][] = [
    ['an end at once', Buffer.alloc(0), 'end', null],
    ['an end at a boundary', encodeRoundEnd(0), 'end', null],
    [
      'an end within a header',
      header.subarray(0, 11),
      'end',
      { message: /closed page stream 0 within a frame/ },
    ],
    ['an end behind a header', header, 'end', { message: /within a frame/ }],
    ['an end within a frame', half, 'end', { message: /within a frame/ }],
    ['a reset at a boundary', encodeRoundEnd(0), 'reset', { message: lost }],
    ['a reset within a frame', half, 'reset', { message: lost }],
  ];
  for (const [what, bytes, how, error] of cases) {
    let peer: Socket | undefined;
    const url = await startRaw(t, (socket) => {
      peer = socket;
      socket.write(Buffer.concat([Buffer.from(ACCEPTED), bytes]));
      if (how === 'end') socket.end();
    });
    const sink = new PlacingRegion(16);
    const { opened, ended } = dialled(url, streamDecoder(0, sink));
    await opened;
    if (how === 'reset') peer!.resetAndDestroy();
    if (error === null) t.equal(await ended, null, what);
    else t.match(await ended, { code: 'link-lost', ...error }, what);
  }
});

void t.test('what the intake refuses ends the stream: nothing more is written', async (t) => {
  const url = await startRaw(t, (socket) => {
    socket.write(Buffer.concat([Buffer.from(ACCEPTED), Buffer.alloc(24), randomBytes(1000)]));
  });
  const { opened, ended } = dialled(url, streamDecoder(0, new RecordingSink([])));
  await opened;
  t.match(await ended, { code: 'bad-frame', message: /type 0 is unknown/ });

  // refused in the middle of a frame that is read in place
  const pages = 64;
  const content = randomBytes(pages * PAGE_SIZE);
  let peer!: Socket;
  const source = await startRaw(t, (socket) => {
    peer = socket;
    socket.write(ACCEPTED);
    socket.write(encodePagesHeader({ region: 0, firstPage: 0, pageCount: pages }));
    socket.write(content.subarray(0, 8 * PAGE_SIZE));
  });
  const sink = new PlacingRegion(pages);
  let refuse = false;
  let arrived!: () => void;
  const begun = new Promise<void>((resolve) => (arrived = resolve));
  const decoder = streamDecoder(0, sink);
  const intake: PageIntake = {
    space: (least) => decoder.space(least),
    write: (chunk) => decoder.write(chunk),
    filled: (bytes) => {
      decoder.filled(bytes);
      if (refuse) throw new MigrationError('unexpected-message', 'enough');
      arrived();
    },
    get atBoundary() {
      return decoder.atBoundary;
    },
  };
  const second = dialled(source, intake);
  await second.opened;
  await begun;
  refuse = true;
  peer.write(content.subarray(8 * PAGE_SIZE, 9 * PAGE_SIZE));
  t.match(await second.ended, { code: 'unexpected-message' });
  const snapshot = Uint8Array.from(sink.memory);
  peer.write(content.subarray(9 * PAGE_SIZE));
  await once(peer, 'close');
  t.equal(Buffer.compare(snapshot, sink.memory), 0);
});

void t.test('close() at each point, and twice: no end is told, no socket and no timer is left', async (t) => {
  // while it is open, in the middle of a frame
  let peer!: Socket;
  const url = await startRaw(t, (socket) => {
    peer = socket;
    socket.write(ACCEPTED);
    socket.write(encodePagesHeader({ region: 0, firstPage: 0, pageCount: 16 }));
    socket.write(randomBytes(PAGE_SIZE));
  });
  const sink = new PlacingRegion(16);
  const timers = new VirtualTimers();
  let told = false;
  const onEnd = () => (told = true);
  const pages = await dialled(url, streamDecoder(0, sink), { timers, onEnd }).opened;
  const gone = once(peer, 'close');
  pages.close();
  pages.close();
  await gone;
  t.equal(told, false);
  t.equal(timers.pending, 0);

  // after its end
  const ending = await startRaw(t, (socket) => void socket.end(ACCEPTED));
  const { opened, ended } = dialled(ending, nowhere);
  const over = await opened;
  t.equal(await ended, null);
  over.close();

  // from within a delivery
  const source = await startRaw(t, (socket) => {
    peer = socket;
    socket.write(Buffer.concat([Buffer.from(ACCEPTED), encodeRoundEnd(0), encodeRoundEnd(1)]));
  });
  const closer = new RecordingSink([]);
  const decoder = streamDecoder(0, closer);
  let own: { close(): void } | null = null;
  const inner = dialled(
    source,
    { ...nowhere, write: (chunk) => (decoder.write(chunk), own?.close()) },
    { onEnd },
  );
  own = await inner.opened;
  own.close();
  await once(peer, 'close');
  t.equal(told, false);
});

void t.test('a dial that is given up: before it begins, while it waits, and once it is open', async (t) => {
  const reason = new MigrationError('cancelled', 'not needed any more');
  const timers = new VirtualTimers();
  let asked!: (socket: Socket) => void;
  const request = new Promise<Socket>((resolve) => (asked = resolve));
  const silent = await startRaw(t, (socket) => asked(socket));
  const signal = AbortSignal.abort(reason);
  t.equal(await refusal(dialled(silent, nowhere, { timers, signal }).opened), reason);
  const abort = new AbortController();
  const dial = refusal(dialled(silent, nowhere, { timers, signal: abort.signal }).opened);
  const closed = once(await request, 'close');
  abort.abort(reason);
  t.equal(await dial, reason);
  await closed;
  t.equal(timers.pending, 0);
  const { offer, url } = await startSource(t, 1);
  const later = new AbortController();
  const sink = new RecordingSink([]);
  const intake = streamDecoder(0, sink);
  const { opened, ended } = dialled(url, intake, { token: offer.token, signal: later.signal });
  await opened;
  later.abort(reason);
  const sender = new StreamedPageSender(offer.take(), { peer: 'node-b' });
  await sender.sendRoundEnd(0);
  await sink.roundEnded(0, 1);
  sender.close();
  t.equal(await ended, null, 'an open stream goes on');
});

void t.test('a slow target is felt by the source, whose memory stays bounded', async (t) => {
  const source = await startSource(t, 1);
  // a target that accepts and does not read
  const { hostname, port } = new URL(source.url);
  const target = connect(Number(port), hostname);
  target.write(
    `GET ${PAGE_STREAM_PATH}?migration=${MIGRATION}&stream=0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n` +
      `Upgrade: ${PAGE_STREAM_PROTOCOL}\r\nx-vmferry-token: ${source.offer.token}\r\n\r\n`,
  );
  await once(target, 'readable');
  const { sending } = await sendUntilFull(t, source.offer.take());
  const failed = t.rejects(sending, { code: 'link-lost' });
  target.resetAndDestroy();
  await failed;
  await source.connectionsLeft(0);
});

void t.test('a target that says something on a stream of pages is cut off', async (t) => {
  for (const when of ['with the request', 'later'] as const) {
    const source = await startSource(t, 1);
    const { hostname, port } = new URL(source.url);
    const target = connect(Number(port), hostname).on('error', () => undefined);
    const closed = new Promise((resolve) => target.once('close', resolve));
    target.write(
      `GET ${PAGE_STREAM_PATH}?migration=${MIGRATION}&stream=0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n` +
        `Upgrade: ${PAGE_STREAM_PROTOCOL}\r\nx-vmferry-token: ${source.offer.token}\r\n\r\n` +
        (when === 'later' ? '' : 'GET / HTTP/1.1\r\n\r\n'),
    );
    await once(target, 'data');
    const sender = new StreamedPageSender(source.offer.take(), { peer: 'node-b' });
    const end = new Promise((resolve) => sender.onClose(resolve));
    if (when === 'later') target.write('hello?');
    else target.write('again');
    t.match(await end, { local: true, reason: /node-b sent data on a stream of pages/ });
    await t.rejects(sender.sendRoundEnd(0), { code: 'unexpected-message' });
    await closed;
    await source.connectionsLeft(0);
  }
});

void t.test(
  'a target that does not close what was closed is dropped, and holds up no shutdown',
  async (t) => {
    const timers = new VirtualTimers();
    const source = await startSource(t, 1, { timers });
    const { hostname, port } = new URL(source.url);
    const target = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    t.teardown(() => target.destroy());
    target.write(
      `GET ${PAGE_STREAM_PATH}?migration=${MIGRATION}&stream=0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n` +
        `Upgrade: ${PAGE_STREAM_PROTOCOL}\r\nx-vmferry-token: ${source.offer.token}\r\n\r\n`,
    );
    target.resume();
    while (source.link.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    const ended = once(target, 'end');
    source.offer.withdraw();
    await ended;
    t.equal(source.link.connections, 1, 'the other side may still end it');
    const closed = source.link.close();
    await timers.advance(2000);
    await closed;
    t.equal(source.link.connections, 0);
    t.equal(timers.pending, 0);
  },
);

void t.test('a stream that has ended before it was used is a lost link', async (t) => {
  const source = await startSource(t, 1);
  const { opened } = dialled(source.url, nowhere, { token: source.offer.token });
  (await opened).close();
  await source.connectionsLeft(0);
  t.throws(() => source.offer.take(), { code: 'link-lost', message: /stream 0 to .* has ended/ });
  source.offer.withdraw();
});

void t.test('streams that were offered and not all opened are let go', async (t) => {
  const source = await startSource(t, 3);
  const { token } = source.offer;
  const open = [dialled(source.url, nowhere, { token }), dialled(source.url, nowhere, { token, stream: 2 })];
  await Promise.all(open.map(({ opened }) => opened));
  t.throws(() => source.offer.take(), { code: 'peer-failed', message: /stream 1 is not open/ });
  source.offer.withdraw();
  t.same(await Promise.all(open.map(({ ended }) => ended)), [null, null]);
  await source.connectionsLeft(0);
});
