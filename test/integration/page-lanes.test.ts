import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { Region } from '../../agent/guest/guest.js';
import { hashPage } from '../../agent/guest/page-hash.js';
import type { Connection } from '../../agent/link/connection.js';
import { type LaneEvents, LaneThreads } from '../../agent/target/lane-threads.js';
import { openLane, type LaneReport, type LaneRequest } from '../../agent/target/page-lane.js';
import { ReceivedMemory } from '../../agent/target/received-memory.js';
import { RoundBarrier } from '../../agent/target/round-barrier.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../shared/protocol/frame.js';
import { MIGRATION, startEndpoint, TOKEN } from '../support/link-endpoints.js';
import { RecordingSink } from '../support/link-sink.js';
import { startedWorkers, turn } from '../support/recorded-workers.js';
import { regionOf } from '../support/region-of.js';
import { ramFile } from '../system/ram-file.js';

/** Page lanes: threads that read streams of a real source into memory that this thread shares with them. */

const NEVER = new AbortController().signal;
const PAGES = 300;
const BIG = { region: 0, firstPage: 3, pageCount: 200 };

/** A source that hands out each stream that is opened at it. */
async function startSource(t: Test) {
  const waiting: ((connection: Connection) => void)[] = [];
  const endpoint = await startEndpoint({
    authorizePageStream: (_id, _stream, token) => {
      if (token !== TOKEN) throw new MigrationError('not-found', 'no such migration offers pages');
      return (connection) => waiting.shift()?.(connection);
    },
  });
  t.teardown(() => endpoint.stop());
  return {
    url: endpoint.url,
    connections: () => endpoint.link.connections,
    connectionsLeft: (count: number) => endpoint.connectionsLeft(count),
    next: () => new Promise<Connection>((resolve) => waiting.push(resolve)),
  };
}

/** Records what a lane tells, and lets a test wait for it. */
class Told implements LaneEvents {
  readonly rounds: [stream: number, round: number, pagesApplied: number][] = [];
  readonly ends: (MigrationError | null)[] = [];
  heardOf = 0;
  onRound: (stream: number, round: number) => void = () => undefined;
  #changed: (() => void)[] = [];

  roundEnd(stream: number, round: number, pagesApplied: number): void {
    this.rounds.push([stream, round, pagesApplied]);
    this.#notify();
    this.onRound(stream, round);
  }

  heard(): void {
    this.heardOf += 1;
  }

  ended(error: MigrationError | null): void {
    this.ends.push(error);
    this.#notify();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  /** What the lane ended with. */
  async end(): Promise<MigrationError | null> {
    await this.until(() => this.ends.length > 0);
    return this.ends[0]!;
  }

  #notify(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

/** Resolves once the thread says that it can have another lane: a moment after it has closed its own. */
function isFree(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    const hear = (report: LaneReport) => {
      if (report.say !== 'closed') return;
      worker.off('message', hear);
      resolve();
    };
    worker.on('message', hear);
  });
}

function laneThreads(t: Test, most = 1): LaneThreads {
  const threads = new LaneThreads(most);
  t.teardown(() => threads.close());
  return threads;
}

function request(url: string, region: Region, more: Partial<LaneRequest> = {}): LaneRequest {
  return {
    ...{ url, peer: 'node node-a', tls: null, migrationId: MIGRATION, stream: 1, token: TOKEN },
    ...{ regions: [region.handle!], verify: 'off', applied: null },
    ...more,
  };
}

for (const kind of ['buffer', 'file'] as const) {
  void t.test(`pages come into memory that is a ${kind}, with the hashes of what was applied`, async (t) => {
    const source = await startSource(t);
    const region = regionOf(kind, PAGES, t);
    const memory = new ReceivedMemory([region], 'after');
    const told = new Told();
    const stream = source.next();
    const lane = await laneThreads(t).open(
      request(source.url, region, { verify: 'after', applied: memory.appliedBuffers }),
      told,
      NEVER,
    );
    const connection = await stream;
    const content = randomBytes(PAGES * PAGE_SIZE);
    const at = (first: number, count: number) =>
      content.subarray(first * PAGE_SIZE, (first + count) * PAGE_SIZE);
    await connection.send(encodePagesHeader(BIG));
    await connection.send(at(BIG.firstPage, BIG.pageCount));
    await connection.send(encodePagesHeader({ region: 0, firstPage: 250, pageCount: 1 }));
    await connection.send(at(250, 1));
    await connection.send(encodeRoundEnd(0));
    await told.until(() => told.rounds.length === 1);
    t.equal(Buffer.compare(region.memory.subarray(250 * PAGE_SIZE, 251 * PAGE_SIZE), at(250, 1)), 0);
    await connection.send(encodeZeroPages({ region: 0, firstPage: 250, pageCount: 2 }));
    for (const round of [1, 2, 3]) await connection.send(encodeRoundEnd(round));
    await told.until(() => told.rounds.length === 4);
    t.same(told.rounds, [
      [1, 0, 201],
      [1, 1, 203],
      [1, 2, 203],
      [1, 3, 203],
    ]);
    t.ok(told.heardOf >= 1);
    await lane.seal();
    const expected = Buffer.alloc(PAGES * PAGE_SIZE);
    at(BIG.firstPage, BIG.pageCount).copy(expected, BIG.firstPage * PAGE_SIZE);
    t.equal(Buffer.compare(region.memory, expected), 0, 'memory is equal');
    // The guest runs, and changes its memory.
    region.memory.fill(77, 0, 10 * PAGE_SIZE);
    const hashes = new DataView(memory.hashes({ region: 0, firstPage: 0, pageCount: PAGES }).buffer);
    const wrong = Array.from({ length: PAGES }, (_, page) => page).filter(
      (page) => hashes.getBigUint64(page * 8, true) !== hashPage(expected, page),
    );
    t.same(wrong, [], 'each page has the hash of what was applied');
    t.same(told.ends, []);
    lane.close();
    await source.connectionsLeft(0);
  });

  void t.test(`what comes after all was said to be sent changes nothing, in a ${kind}`, async (t) => {
    const source = await startSource(t);
    const threads = laneThreads(t);
    const page = randomBytes(PAGE_SIZE);
    const more: [string, Uint8Array[]][] = [
      ['pages', [encodePagesHeader({ region: 0, firstPage: 0, pageCount: 1 }), page]],
      ['many pages', [encodePagesHeader(BIG), randomBytes(BIG.pageCount * PAGE_SIZE)]],
      ['zero pages', [encodeZeroPages({ region: 0, firstPage: 0, pageCount: PAGES })]],
      ['the end of a round', [encodeRoundEnd(0)]],
    ];
    for (const [what, frames] of more) {
      const region = regionOf(kind, PAGES, t);
      region.memory.fill(5);
      const told = new Told();
      const stream = source.next();
      const lane = await threads.open(request(source.url, region), told, NEVER);
      const connection = await stream;
      await lane.seal();
      for (const frame of frames) connection.send(frame).catch(() => undefined);
      t.match(await told.end(), { code: 'unexpected-message', message: /after the source had said/ }, what);
      t.ok(
        region.memory.every((byte) => byte === 5),
        'nothing was written',
      );
      t.same(told.rounds, []);
      lane.close();
    }

    const region = regionOf(kind, PAGES, t);
    const told = new Told();
    const stream = source.next();
    const lane = await threads.open(request(source.url, region), told, NEVER);
    const connection = await stream;
    await connection.send(encodePagesHeader(BIG));
    await connection.send(new Uint8Array(5 * PAGE_SIZE).fill(1));
    const last = (BIG.firstPage + 5) * PAGE_SIZE - 1;
    while (region.memory[last] !== 1) await turn();
    await t.rejects(lane.seal(), {
      code: 'unexpected-message',
      message: /said that all is sent within a frame of page stream 1/,
    });
    lane.close();
    await source.connectionsLeft(0);
  });
}

void t.test('what a peer may not send ends the lane and writes nothing', async (t) => {
  const source = await startSource(t);
  const threads = laneThreads(t);
  const region = regionOf('buffer', PAGES, t);
  const cases: [string, Uint8Array, object][] = [
    ['behind the end', encodePagesHeader({ ...BIG, firstPage: PAGES - 1 }), { code: 'out-of-range' }],
    ['another region', encodeZeroPages({ ...BIG, region: 1 }), { code: 'out-of-range' }],
    [
      'a blob',
      encodeBlobHeader('device-state', 0, 8),
      { code: 'unexpected-message', message: /travel on 0/ },
    ],
    ['no frame', new Uint8Array(24), { code: 'bad-frame' }],
  ];
  for (const [what, header, error] of cases) {
    const told = new Told();
    const stream = source.next();
    const lane = await threads.open(request(source.url, region), told, NEVER);
    const connection = await stream;
    connection.send(header).catch(() => undefined);
    connection.send(randomBytes(BIG.pageCount * PAGE_SIZE)).catch(() => undefined);
    t.match(await told.end(), error, what);
    t.ok(region.memory.every((byte) => byte === 0));
    lane.close();
    await source.connectionsLeft(0);
  }
});

void t.test('a round that is not due, found in this thread, ends the lane and not the process', async (t) => {
  const source = await startSource(t);
  const told = new Told();
  const barrier = new RoundBarrier(2);
  told.onRound = (stream, round) => void barrier.end(stream, round);
  const stream = source.next();
  const lane = await laneThreads(t).open(request(source.url, regionOf('buffer', PAGES, t)), told, NEVER);
  await (await stream).send(encodeRoundEnd(7));
  t.match(await told.end(), { code: 'unexpected-message', message: /stream 1 ended round 7 out of order/ });
  lane.close();
});

void t.test('what can not be opened is refused, and the thread takes the next', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = laneThreads(t);
  const region = regionOf('buffer', PAGES, t);
  const told = new Told();
  await t.rejects(threads.open(request(source.url, region, { token: 'wrong' }), told, NEVER), {
    code: 'not-found',
    message: /^node node-a refused: /,
  });
  await t.rejects(threads.open(request('http://127.0.0.1:1', region), told, NEVER), {
    code: 'peer-unreachable',
  });
  const gone = { name: 'ram', path: '/dev/shm/vmferry-none.ram', fileBytes: PAGE_SIZE, window: 0 };
  await t.rejects(threads.open(request(source.url, region, { regions: [gone] }), told, NEVER), /ENOENT/);
  const path = ramFile(t, PAGE_SIZE);
  const short = { name: 'ram', path, fileBytes: 2 * PAGE_SIZE, window: 0 };
  await t.rejects(threads.open(request(source.url, region, { regions: [short] }), told, NEVER), {
    code: 'guest-failed',
  });
  const stream = source.next();
  const lane = await threads.open(request(source.url, region), told, NEVER);
  await (await stream).send(encodeRoundEnd(0));
  await told.until(() => told.rounds.length === 1);
  t.equal(workers.length, 1);
  t.same(told.ends, [], 'of a lane that was never open nothing is told');
  lane.close();
});

void t.test('a lane that is given up while it is opened leaves its thread to the next', async (t) => {
  const workers = startedWorkers(t);
  const sockets: Socket[] = [];
  let asked!: () => void;
  const begun = new Promise<void>((resolve) => (asked = resolve));
  const silent = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    asked();
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const source = await startSource(t);
  const threads = laneThreads(t);
  const region = regionOf('file', PAGES, t);
  const abort = new AbortController();
  const opening = threads.open(request(url, region), new Told(), abort.signal);
  await begun;
  const closed = once(sockets[0]!, 'close');
  sockets[0]!.resume();
  abort.abort();
  await t.rejects(opening, { code: 'cancelled' });
  await closed;
  await t.rejects(threads.open(request(url, region), new Told(), abort.signal), { name: 'AbortError' });
  // given up as it opens: refused or open, but settled, and the thread is free again
  for (let i = 0; i < 5; i += 1) {
    const late = new AbortController();
    const racing = threads.open(request(source.url, region), new Told(), late.signal);
    while (source.connections() === 0) await turn();
    const free = Promise.race(workers.map(isFree));
    late.abort();
    const lane = await racing.catch(() => null);
    lane?.close();
    await source.connectionsLeft(0);
    if (lane) await free;
  }
  t.equal(workers.length, 1, 'one thread was enough');
});

void t.test('a lane ends with its stream', async (t) => {
  const source = await startSource(t);
  const threads = laneThreads(t, 2);
  for (const [code, error] of [
    [CLOSE_DONE, null],
    [errorToCloseCode('cancelled'), { code: 'link-lost' }],
  ] as const) {
    const told = new Told();
    const stream = source.next();
    const lane = await threads.open(request(source.url, regionOf('buffer', PAGES, t)), told, NEVER);
    (await stream).close(code, '');
    if (error === null) t.equal(await told.end(), null);
    else t.match(await told.end(), error);
    lane.close();
    lane.close();
  }
  await source.connectionsLeft(0);
});

void t.test('threads are kept for the next, no more than were asked for', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = laneThreads(t, 2);
  threads.warmUp();
  threads.warmUp();
  await turn();
  t.equal(workers.length, 2, 'started before they are needed');
  for (let i = 0; i < 10; i += 1) {
    const told = [1, 2].map(() => new Told());
    const lanes = await Promise.all(
      told.map((each) => threads.open(request(source.url, regionOf('file', PAGES, t)), each, NEVER)),
    );
    const free = Promise.all(workers.map(isFree));
    for (const lane of lanes) lane.close();
    await source.connectionsLeft(0);
    await free;
  }
  t.equal(workers.length, 2, 'those two were enough');
});

void t.test('a lane that was closed has no say in what its thread does next', async (t) => {
  const source = await startSource(t);
  const threads = laneThreads(t);
  const workers = startedWorkers(t);
  const region = regionOf('buffer', PAGES, t);
  const first = await threads.open(request(source.url, region), new Told(), NEVER);
  const free = new Promise<void>((resolve) => {
    const [worker] = workers;
    worker!.on('message', ({ say }: { say: string }) => say === 'closed' && resolve());
  });
  first.close();
  await free;
  const told = new Told();
  const stream = source.next();
  const second = await threads.open(request(source.url, region), told, NEVER);
  t.equal(workers.length, 1, 'the same thread');
  first.close();
  await t.rejects(first.seal(), { code: 'link-lost' });
  const connection = await stream;
  await connection.send(encodePagesHeader(BIG));
  await connection.send(randomBytes(BIG.pageCount * PAGE_SIZE));
  await connection.send(encodeRoundEnd(0));
  await told.until(() => told.rounds.length === 1);
  await second.seal();
  t.same(told.ends, []);
  second.close();
});

void t.test('a thread that dies takes its lane with it, and is replaced', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = laneThreads(t);
  const region = regionOf('file', PAGES, t);
  const told = new Told();
  const lane = await threads.open(request(source.url, region), told, NEVER);
  void workers[0]!.terminate();
  t.match(await told.end(), { code: 'internal', message: /the thread 'page lane' has ended/ });
  await t.rejects(lane.seal(), { code: 'internal' }, 'that all is there is not said of it');
  lane.close();
  await source.connectionsLeft(0);
  t.equal(told.ends.length, 1);

  // in the middle of the opening
  const opening = threads.open(request(source.url, region), new Told(), NEVER);
  await turn();
  void workers[1]!.terminate();
  await t.rejects(opening, { code: 'internal' });

  const again = new Told();
  const stream = source.next();
  const next = await threads.open(request(source.url, region), again, NEVER);
  await (await stream).send(encodeRoundEnd(0));
  await again.until(() => again.rounds.length === 1);
  next.close();
});

void t.test('the end of the agent ends lanes that are open', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = new LaneThreads(2);
  threads.warmUp();
  await turn();
  const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  const told = new Told();
  const lane = await threads.open(request(source.url, regionOf('file', PAGES, t)), told, NEVER);
  await threads.close();
  await Promise.all(exits);
  t.match(await told.end(), { code: 'internal' });
  await t.rejects(lane.seal());
  lane.close();
  await source.connectionsLeft(0);
  await threads.close();
});

void t.test('a lane of this thread, too, is sealed between two frames alone', async (t) => {
  const source = await startSource(t);
  const region = regionOf('file', PAGES, t);
  const memory = new ReceivedMemory([region], 'off');
  const sink = new (class extends RecordingSink {
    override payload(_stream: number, at: number, offset: number, chunk: Uint8Array): void {
      memory.write(at, offset, chunk);
      arrived();
    }
  })([]);
  let arrived: () => void = () => undefined;
  const some = new Promise<void>((resolve) => (arrived = resolve));
  const address = {
    url: source.url,
    peer: 'node node-a',
    tls: null,
    migrationId: MIGRATION,
    stream: 0,
    token: TOKEN,
  };
  const stream = source.next();
  const lane = await openLane(address, memory, sink, () => undefined, NEVER);
  await lane.seal();
  const connection = await stream;
  await connection.send(encodePagesHeader(BIG));
  await connection.send(randomBytes(PAGE_SIZE));
  await some;
  await t.rejects(lane.seal(), { code: 'unexpected-message', message: /page stream 0/ });
  lane.close();
  await source.connectionsLeft(0);
});
