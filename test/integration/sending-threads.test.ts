import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Connection } from '../../agent/link/connection.js';
import { PAGE_STREAM_PATH, PAGE_STREAM_PROTOCOL } from '../../agent/link/link-paths.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { SendingThreads } from '../../agent/link/sending-threads.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import {
  CLOSE_BROKEN,
  CLOSE_CODES,
  CLOSE_DONE,
  errorToCloseCode,
} from '../../shared/protocol/close-codes.js';
import { encodePagesHeader, encodeRoundEnd } from '../../shared/protocol/frame.js';
import { ended, MIGRATION, startEndpoint, TOKEN } from '../support/link-endpoints.js';
import { startedWorkers, turn } from '../support/recorded-workers.js';
import { regionOf } from '../support/region-of.js';
import { openFiles } from '../support/open-files.js';

/** Threads that send page streams, over sockets that were accepted by this one. */

const PAGES = 600;
const HEAD = `GET ${PAGE_STREAM_PATH}?migration=${MIGRATION}&stream=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\nx-vmferry-token: ${TOKEN}\r\n\r\n`;

async function startSource(t: Test) {
  const waiting: ((connection: Connection) => void)[] = [];
  const endpoint = await startEndpoint({
    authorizePageStream: () => (connection) => waiting.shift()?.(connection),
  });
  t.teardown(() => endpoint.stop());
  /** A stream that was opened: this side's connection, and the socket of a target that is past the answer. */
  const open = async (): Promise<{ connection: Connection; target: Socket }> => {
    const accepted = new Promise<Connection>((resolve) => waiting.push(resolve));
    const { hostname, port } = new URL(endpoint.url);
    const target = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    target.on('error', () => undefined);
    target.write(HEAD);
    const connection = await accepted;
    // the answer, and nothing behind it
    let answer = '';
    while (!answer.endsWith('\r\n\r\n')) {
      await once(target, 'readable');
      answer += String(target.read() ?? '');
    }
    return { connection, target };
  };
  return { open, link: endpoint.link, connectionsLeft: (count: number) => endpoint.connectionsLeft(count) };
}

function sendingThreads(t: Test, most = 1): SendingThreads {
  const threads = new SendingThreads(most);
  t.teardown(() => threads.close());
  return threads;
}

/** All that comes until the other side ends it, or what went wrong. */
async function received(target: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  target.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve, reject) => target.once('end', resolve).once('error', reject));
  target.end();
  return Buffer.concat(chunks);
}

/** Sockets of this process. */
const sockets = () => openFiles().filter((file) => file.startsWith('socket:')).length;

for (const kind of ['buffer', 'file'] as const) {
  void t.test(`memory that is a ${kind} is sent as it is, in order with the rest`, async (t) => {
    const source = await startSource(t);
    const { connection, target } = await source.open();
    const region = regionOf(kind, PAGES, t);
    region.memory.set(randomBytes(region.memory.length));
    const adopted = await sendingThreads(t).adopt(connection, [region], 'node-b');
    t.not(adopted, connection);
    t.equal(source.link.connections, 1, 'it still counts as one of the agent');
    const sender = new StreamedPageSender([adopted], { peer: 'node-b' });
    const coming = received(target);
    await sender.sendPages(
      { region: 0, firstPage: 0, pageCount: 400 },
      region.memory.subarray(0, 400 * PAGE_SIZE),
    );
    for (const page of [450, 451, 500]) {
      const content = region.memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
      await sender.sendPages({ region: 0, firstPage: page, pageCount: 1 }, content);
    }
    await sender.sendRoundEnd(0);
    t.equal(sender.takenBytes, sender.wireBytes, 'all of it was taken');
    sender.close();
    const run = (firstPage: number, pageCount: number) => [
      encodePagesHeader({ region: 0, firstPage, pageCount }),
      region.memory.subarray(firstPage * PAGE_SIZE, (firstPage + pageCount) * PAGE_SIZE),
    ];
    const expected = Buffer.concat([
      ...[run(0, 256), run(256, 144), run(450, 1), run(451, 1), run(500, 1)].flat(),
      encodeRoundEnd(0),
    ]);
    t.equal(Buffer.compare(await coming, expected), 0);
    t.match(await ended(adopted), { code: CLOSE_DONE, local: true });
    t.match(await ended(connection), { code: CLOSE_DONE, local: true });
    t.equal(source.link.connections, 0);
    await t.rejects(adopted.send(new Uint8Array(1)), { code: 'link-lost' });
  });
}

void t.test('what can not be passed on is sent by this thread', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = sendingThreads(t);
  const { connection } = await source.open();
  const memory = new Uint8Array(PAGE_SIZE);
  t.equal(await threads.adopt(connection, [{ name: 'ram', memory }], 'node-b'), connection, 'memory');
  const [inMemory] = connectedPair();
  t.equal(
    await threads.adopt(inMemory, [regionOf('buffer', PAGES, t)], 'node-b'),
    inMemory,
    'another connection',
  );
  connection.close(CLOSE_DONE, '');
  t.equal(
    await threads.adopt(connection, [regionOf('buffer', PAGES, t)], 'node-b'),
    connection,
    'a closed one',
  );
  await turn();
  t.same(workers, []);
});

void t.test('how it ends: by this side, with an error, by the other, by a reset', async (t) => {
  const source = await startSource(t);
  const threads = sendingThreads(t);
  const region = regionOf('buffer', PAGES, t);
  const adopted = async () => {
    const { connection, target } = await source.open();
    return { connection: await threads.adopt(connection, [region], 'node-b'), target };
  };
  const mine = await adopted();
  mine.connection.close(CLOSE_DONE, '');
  mine.connection.close(CLOSE_DONE, 'again');
  t.equal((await received(mine.target)).length, 0);
  t.match(await ended(mine.connection), { code: CLOSE_DONE, local: true });

  const failed = await adopted();
  const reset = received(failed.target);
  failed.connection.close(errorToCloseCode('cancelled'), 'enough');
  await t.rejects(reset, { code: 'ECONNRESET' });
  t.match(await ended(failed.connection), { code: CLOSE_CODES.cancelled, reason: 'enough', local: true });

  const theirs = await adopted();
  theirs.target.end();
  t.match(await ended(theirs.connection), {
    code: CLOSE_BROKEN,
    local: false,
    reason: /closed by the other side/,
  });
  await t.rejects(theirs.connection.send(new Uint8Array(1)), { code: 'link-lost' });

  const cut = await adopted();
  const sender = new StreamedPageSender([cut.connection], { peer: 'node-b' });
  const sending = (async () => {
    for (;;) await sender.sendPages({ region: 0, firstPage: 0, pageCount: PAGES }, region.memory);
  })();
  await once(cut.target, 'readable');
  cut.target.resetAndDestroy();
  await t.rejects(sending, { code: 'link-lost', message: /node-b/ });
  t.match(await ended(cut.connection), { code: CLOSE_BROKEN, local: false });
});

void t.test('a target that says something is cut off', async (t) => {
  const source = await startSource(t);
  const { connection, target } = await source.open();
  const adopted = await sendingThreads(t).adopt(connection, [regionOf('buffer', PAGES, t)], 'node-b');
  const sender = new StreamedPageSender([adopted], { peer: 'node-b' });
  target.write('hello?');
  t.match(await ended(adopted), { local: true, reason: /node-b sent data/ });
  await t.rejects(sender.sendRoundEnd(0), { code: 'unexpected-message' });
});

void t.test('a slow target is felt, and what is under way stays bounded', async (t) => {
  const source = await startSource(t);
  const { connection, target } = await source.open();
  const region = regionOf('file', PAGES, t);
  const adopted = await sendingThreads(t).adopt(connection, [region], 'node-b');
  const sender = new StreamedPageSender([adopted], { peer: 'node-b' });
  let rounds = 0;
  const sending = (async () => {
    for (; ; rounds += 1)
      await sender.sendPages({ region: 0, firstPage: 0, pageCount: PAGES }, region.memory);
  })();
  const failed = t.rejects(sending, { code: 'link-lost' });
  let before = -1;
  while (sender.wireBytes !== before) {
    before = sender.wireBytes;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.ok(sender.wireBytes < 64 * 2 ** 20, `${sender.wireBytes} bytes after ${rounds} rounds`);
  target.destroy();
  await failed;
});

void t.test(
  'a thread that dies, and memory that is gone: the stream ends, and nothing of it is left',
  async (t) => {
    const workers = startedWorkers(t);
    const source = await startSource(t);
    const threads = sendingThreads(t);
    const region = regionOf('file', PAGES, t);
    const before = sockets();
    const first = await source.open();
    const adopted = await threads.adopt(first.connection, [region], 'node-b');
    const gone = received(first.target).catch((error: unknown) => error);
    await adopted.send(encodeRoundEnd(0));
    void workers[0]!.terminate();
    t.match(await ended(adopted), {
      code: CLOSE_BROKEN,
      reason: /thread 'page sender' has ended/,
      local: false,
    });
    await t.rejects(adopted.send(new Uint8Array(1)), { code: 'link-lost' });
    await gone;
    first.target.destroy();

    for (const [spoil, code, reason] of [
      [() => rmSync(region.path!), 'internal', /memory can't be read: ENOENT/],
      [
        () => writeFileSync(region.path!, ''),
        'guest-failed',
        /memory can't be read: RAM file .* has 0 bytes/,
      ],
    ] as const) {
      spoil();
      const second = await source.open();
      const blind = await threads.adopt(second.connection, [region], 'node-b');
      const sender = new StreamedPageSender([blind], { peer: 'node-b' });
      const sending = sender.sendPages(
        { region: 0, firstPage: 0, pageCount: 256 },
        region.memory.subarray(0, 2 ** 20),
      );
      const told = sending.then(() => sender.sendRoundEnd(0));
      await t.rejects(told, { code, message: reason });
      t.match(await ended(blind), { code: CLOSE_CODES[code] });
      second.target.resume();
      if (!second.target.closed) await once(second.target, 'close');
    }
    t.equal(workers.length, 2, 'the thread goes on');

    const third = await source.open();
    const next = await threads.adopt(third.connection, [regionOf('buffer', PAGES, t)], 'node-b');
    await next.send(encodeRoundEnd(0));
    t.equal(workers.length, 2);
    next.close(CLOSE_DONE, '');
    await received(third.target);
    await ended(next);
    while (sockets() > before) await turn();
    t.equal(sockets(), before);
  },
);

void t.test('threads are kept for the next stream, and end with the agent', async (t) => {
  const workers = startedWorkers(t);
  const source = await startSource(t);
  const threads = new SendingThreads(2);
  threads.warmUp();
  await turn();
  t.equal(workers.length, 2);
  const region = regionOf('file', PAGES, t);
  const one = async () => {
    const { connection, target } = await source.open();
    return { connection: await threads.adopt(connection, [region], 'node-b'), target };
  };
  for (let i = 0; i < 10; i += 1) {
    const pair = await Promise.all([one(), one()]);
    await Promise.all(
      pair.map(async ({ connection, target }) => {
        const coming = received(target);
        for (let round = 0; round < 5; round += 1) await connection.send(encodeRoundEnd(round));
        connection.close(CLOSE_DONE, '');
        t.equal((await coming).length, 5 * 24);
        await ended(connection);
      }),
    );
  }
  t.equal(workers.length, 2);
  const { connection, target } = await one();
  const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  const cut = received(target).catch((error: unknown) => error);
  await threads.close();
  await Promise.all(exits);
  t.match(await ended(connection), { code: CLOSE_BROKEN });
  await cut;
  await t.rejects(connection.send(new Uint8Array(1)), MigrationError);
});
