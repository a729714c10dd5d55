import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import msgpack from 'msgpack-lite';
import t, { type Test } from 'tap';
import type { Connection } from '../../agent/link/connection.js';
import {
  PAGE_STREAM_PATH,
  PAGE_STREAM_PROTOCOL,
  PAGES_PATH,
  TCP_PAGES_FEATURE,
} from '../../agent/link/link-paths.js';
import { PAGE_TOKEN_HEADER } from '../../agent/link/page-token.js';
import { type ErrorCode, MigrationError } from '../../shared/errors.js';
import { CLOSE_CODES, CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../shared/protocol/frame.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';
import { AgentLab } from '../support/agent-lab.js';
import { BYSTANDER, bystanderIsWell } from '../support/bystander.js';
import { startEndpoint } from '../support/link-endpoints.js';
import { prepareMessage, RawPeer, refusedUpgrade } from '../support/raw-peer.js';

/**
 * What a source can do wrong whose page streams the target opens: the agent and its guest go on, and nothing of the intruder
 * is left.
 */

const OFFERED = 'the-token-of-evil';

/** Where the agent dials for streams of node evil: they are opened by the product's own server, and say what a test wants. */
const arrived = new Map<number, Connection>();
const source = await startEndpoint({
  node: 'evil',
  authorizePageStream: (_id, stream, token) => {
    if (token !== OFFERED) throw new MigrationError('not-found', 'not offered');
    return (connection) => void arrived.set(stream, connection);
  },
});
t.teardown(() => source.stop());

/** Where it dials for those of node mute: nobody says anything there. */
const silent: Socket[] = [];
const mute = createServer((socket) => void silent.push(socket.on('error', () => undefined)));
mute.listen(0, '127.0.0.1');
await once(mute, 'listening');
t.teardown(() => {
  for (const socket of silent) socket.destroy();
  mute.close();
});

const lab = await AgentLab.start(t, ['a'], () => ({
  guestMemory: '4MiB',
  lock: { grace: '100ms' },
  peers: { evil: source.url, mute: `http://127.0.0.1:${(mute.address() as AddressInfo).port}` },
  qemu: { memoryDirectory: '/dev/shm' },
}));
const client = lab.client('a');
const { url } = lab.agent('a');
await lab.boot('a', BYSTANDER);

let attempts = 0;
async function greeted(node = 'evil'): Promise<RawPeer> {
  const peer = await RawPeer.connect(url, `m-intruder-${(attempts += 1)}`);
  return await peer.greet({ node, features: [TCP_PAGES_FEATURE] });
}
const locked = async (node?: string) => await (await greeted(node)).lock();

/** Prepares a guest of 1 MiB, and has the agent open its streams here. */
async function streams(peer: RawPeer, count: number): Promise<Connection[]> {
  peer.say(prepareMessage({ streams: count, pageToken: OFFERED, verify: 'after' }));
  return await opened(peer, count);
}

async function opened(peer: RawPeer, count: number): Promise<Connection[]> {
  const { transport, findings } = await peer.hear('prepared');
  if (transport !== 'tcp') throw new Error(`streams go over ${transport}: ${JSON.stringify(findings)}`);
  return Array.from({ length: count }, (_, stream) => arrived.get(stream)!);
}

function say(connection: Connection, ...frames: Uint8Array[]): void {
  for (const frame of frames) connection.send(frame).catch(() => undefined);
}

const scratchFiles = async () =>
  (await readdir('/dev/shm')).filter((name) => name.startsWith('vmferry-scratch-'));
const scratchBefore = await scratchFiles();

/** Nothing of the intruder is left, no stream and no scratch file either. */
async function allIsWell(t: Test): Promise<void> {
  await bystanderIsWell(t, client);
  await source.connectionsLeft(0);
  while ((await scratchFiles()).some((name) => !scratchBefore.includes(name))) await setImmediate();
  arrived.clear();
}

const page = new Uint8Array(4096).fill(7);
const onePage = encodePagesHeader({ region: 0, firstPage: 0, pageCount: 1 });
const large = encodePagesHeader({ region: 0, firstPage: 0, pageCount: 200 });
const finalize = {
  type: 'finalize',
  round: 0,
  stateDigest: '0'.repeat(16),
  pagesSent: 0,
  resume: true,
} as const;

await t.test('pages and frames, on the stream of the agent itself and on one of a thread', async (t) => {
  const cases: [string, Uint8Array[], ErrorCode][] = [
    ['pages behind the end', [encodePagesHeader({ region: 0, firstPage: 256, pageCount: 1 }), page], 'out-of-range'],
    ['pages across the end', [encodePagesHeader({ region: 0, firstPage: 100, pageCount: 200 })], 'out-of-range'],
    ['zero pages across the end', [encodeZeroPages({ region: 0, firstPage: 250, pageCount: 7 })], 'out-of-range'],
    ['a region that is none', [encodePagesHeader({ region: 1, firstPage: 0, pageCount: 1 })], 'out-of-range'],
    ['type 0', [new Uint8Array(24)], 'bad-frame'],
    ['a round that is not due', [encodeRoundEnd(1)], 'unexpected-message'],
    ['a round that ends twice', [encodeRoundEnd(0), encodeRoundEnd(0)], 'unexpected-message'],
    ['the largest round', [encodeRoundEnd(2 ** 32 - 1)], 'unexpected-message'],
    ['an image that was not announced', [encodeBlobHeader('program-image', 0, 8), page.subarray(0, 8)], 'unexpected-message'],
  ]; // prettier-ignore
  for (const [what, frames, code] of cases) {
    for (const number of [0, 1]) {
      await t.test(`${what}, on stream ${number}`, async (t) => {
        const peer = await locked();
        const open = await streams(peer, 2);
        say(open[number]!, ...frames);
        t.match(await peer.hear('error'), { code });
        peer.socket.cut();
        await allIsWell(t);
      });
    }
  }
  await t.test('the end of a stream within a frame, and between two', async (t) => {
    for (const number of [0, 1]) {
      for (const frames of [[large, page], []]) {
        const peer = await locked();
        const open = await streams(peer, 2);
        say(open[number]!, ...frames);
        open[number]!.close(CLOSE_DONE, '');
        t.match(await peer.hear('error'), { code: 'link-lost', message: new RegExp(`stream ${number}`) });
        peer.socket.cut();
        await allIsWell(t);
      }
    }
  });
});

await t.test('more after all was said to be sent', async (t) => {
  for (const number of [0, 1]) {
    for (const frames of [[onePage, page], [encodeRoundEnd(1)], [large, page, page]]) {
      const peer = await locked();
      const open = await streams(peer, 2);
      for (const stream of open) say(stream, encodeRoundEnd(0));
      await peer.hear('round-ack');
      peer.say(finalize);
      say(open[number]!, ...frames);
      // which of what is wrong is found first is open
      t.match(await peer.hear('error'), { code: /^(unexpected-message|bad-frame|load-failed)$/ });
      peer.socket.cut();
      await allIsWell(t);
    }
    const peer = await locked();
    const open = await streams(peer, 2);
    for (const stream of open) say(stream, encodeRoundEnd(0));
    await peer.hear('round-ack');
    say(open[number]!, large, page);
    peer.say(finalize);
    t.match(await peer.hear('error'), { code: /^(unexpected-message|bad-frame|load-failed)$/ });
    peer.socket.cut();
    await allIsWell(t);
  }
});

await t.test('streams that can not be opened', async (t) => {
  await t.test('a source that never answers: they go over WebSocket', async (t) => {
    const peer = await locked('mute');
    peer.say(prepareMessage({ streams: 2, pageToken: OFFERED }));
    const prepared = await peer.hear('prepared');
    t.equal(prepared.transport, 'websocket');
    t.match(prepared.findings.at(-1), {
      level: 'warning',
      code: 'pages-by-websocket',
      message: /node mute did not answer/,
    });
    const pages = await Promise.all([0, 1].map((stream) => peer.pages(prepared.token, stream)));
    for (const stream of pages) stream.send(encodeRoundEnd(0));
    t.match(await peer.hear('round-ack'), { round: 0 });
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('given up while the agent dials', async (t) => {
    for (const end of [
      (peer: RawPeer) => peer.socket.cut(),
      (peer: RawPeer) => peer.say({ type: 'abort', code: 'cancelled', message: 'enough' }),
      (peer: RawPeer) => peer.say({ type: 'lock-release' }),
    ]) {
      const peer = await locked('mute');
      const before = silent.length;
      peer.say(prepareMessage({ streams: 2, pageToken: OFFERED }));
      while (silent.length < before + 2) await setImmediate();
      end(peer);
      await allIsWell(t);
      peer.socket.cut();
    }
  });
  await t.test('a node that the agent does not know, and a token that the source does not', async (t) => {
    for (const [node, token, message] of [
      ['stranger', OFFERED, /node stranger is not among the peers/],
      ['evil', 'another', /node evil refused: not offered/],
      ['evil', '', /node evil refused: not offered/],
    ] as const) {
      const peer = await locked(node);
      peer.say(prepareMessage({ streams: 2, pageToken: token }));
      const { transport, findings } = await peer.hear('prepared');
      t.equal(transport, 'websocket');
      t.match(findings.at(-1), { code: 'pages-by-websocket', message });
      peer.socket.cut();
      await allIsWell(t);
    }
  });
  await t.test('one that is opened over TCP is not opened over WebSocket as well', async (t) => {
    const peer = await locked();
    await streams(peer, 1);
    for (const token of [OFFERED, '']) {
      const path = `${PAGES_PATH}?migration=${peer.migrationId}&stream=0`;
      t.match(await refusedUpgrade(url, path, { [PAGE_TOKEN_HEADER]: token }), { status: 404 });
    }
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('a token that would begin another header', async (t) => {
    for (const message of [
      { ...prepareMessage(), pageToken: 'x\r\nOrigin: evil' },
      { type: 'link-test', memory: 'embedded', bytes: 4096, streams: 1, pageToken: 'x\n\nGET / HTTP/1.1' },
    ]) {
      const peer = await locked();
      peer.socket.send(msgpack.encode(message));
      t.match(await peer.socket.closed, { code: CLOSE_CODES['bad-message'], reason: /pageToken/ });
      await allIsWell(t);
    }
  });
});

type LinkTest = Extract<SourceMessage, { type: 'link-test' }>;
const test = (overrides: Partial<LinkTest> = {}): LinkTest => ({
  ...{ type: 'link-test', memory: 'embedded', bytes: 2 ** 20, streams: 2, pageToken: OFFERED },
  ...overrides,
});

await t.test('tests of the link', async (t) => {
  /** The peer is told the error, and its control connection is closed with the code of it. */
  async function refused(t: Test, peer: RawPeer, code: ErrorCode, message: RegExp): Promise<void> {
    t.match(await peer.hear('error'), { code, message });
    t.match(await peer.socket.closed, { code: CLOSE_CODES[code] });
    await allIsWell(t);
  }
  const outOfTurn = /take the lock of node a first, once/;

  await t.test('one that is well', async (t) => {
    for (const memory of ['embedded', 'qemu'] as const) {
      const peer = (await locked()).say(test({ memory }));
      const open = await opened(peer, 2);
      for (const round of [0, 1]) {
        say(open[0]!, large, ...Array.from({ length: 200 }, () => page), encodeRoundEnd(round));
        say(open[1]!, encodeZeroPages({ region: 0, firstPage: 0, pageCount: 256 }), encodeRoundEnd(round));
        while ((await peer.hear('round-ack')).round < round) {
          peer.socket.heard.shift();
        }
      }
      t.equal((await client.status()).guests.length, 1, 'it is no guest');
      peer.socket.cut();
      await allIsWell(t);
    }
  });
  await t.test('without the lock, and while it waits for it', async (t) => {
    await refused(t, (await greeted()).say(test()), 'unexpected-message', outOfTurn);
    const holder = await locked();
    const peer = await greeted();
    peer.say({ type: 'lock-request', vm: 'link-test', requestedAt: 2 }).say({ type: 'lock-try' });
    await peer.hear('lock-busy');
    peer.say(test());
    t.match(await peer.hear('error'), { code: 'unexpected-message', message: outOfTurn });
    holder.socket.cut();
    await allIsWell(t);
  });
  await t.test('twice', async (t) => {
    const peer = (await locked()).say(test());
    await opened(peer, 2);
    await refused(t, peer.say(test()), 'unexpected-message', outOfTurn);
    await refused(t, (await locked()).say(test()).say(test()), 'unexpected-message', outOfTurn);
  });
  await t.test('again after the lock was given back', async (t) => {
    const peer = (await locked()).say(test({ memory: 'qemu' }));
    await opened(peer, 2);
    peer.say({ type: 'lock-release' });
    await source.connectionsLeft(0);
    peer.socket.heard.length = 0;
    peer.say({ type: 'lock-request', vm: 'link-test', requestedAt: 3 }).say({ type: 'lock-try' });
    if ((await peer.hear('lock-granted', 'lock-offer', 'error')).type !== 'error') {
      peer.say({ type: 'lock-confirm' }).say(test());
    }
    // by the test, or by the lock, whose entry may not be gone yet
    t.match(await peer.hear('error'), { code: /^(unexpected-message|lock-lost|duplicate-migration)$/ });
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('beside a migration, on one connection and with one id', async (t) => {
    const first = await locked();
    await streams(first, 1);
    await refused(t, first.say(test()), 'unexpected-message', outOfTurn);
    const second = (await locked()).say(test());
    await opened(second, 2);
    await refused(t, second.say(prepareMessage()), 'unexpected-message', /does not hold the lock|state/);
    const third = (await locked()).say(test());
    await opened(third, 2);
    const twin = await (await RawPeer.connect(url, third.migrationId)).greet({ node: 'evil' });
    t.match(await twin.say(test()).hear('error'), { code: 'unexpected-message' });
    third.socket.cut();
    await allIsWell(t);
  });
  await t.test('messages of a migration', async (t) => {
    for (const message of [{ type: 'commit' }, finalize, { type: 'verify-request', region: 0, firstPage: 0, pageCount: 1 }] as const) {
      const peer = (await locked()).say(test());
      await opened(peer, 2);
      t.match(await peer.say(message).hear('error'), { code: 'unexpected-message' });
      peer.socket.cut();
      await allIsWell(t);
    }
  }); // prettier-ignore
  await t.test('absurd sizes', async (t) => {
    for (const wrong of [
      { bytes: 0 },
      { bytes: -4096 },
      { bytes: 4097 },
      { bytes: 2 ** 30 + 4096 },
      { bytes: 2 ** 53 },
      { bytes: Infinity },
      { streams: 0 },
      { streams: 17 },
      { memory: 'swap' },
    ]) {
      const peer = await locked();
      peer.socket.send(msgpack.encode({ ...test(), ...wrong }));
      t.match(await peer.socket.closed, {
        code: CLOSE_CODES['bad-message'],
        reason: /bytes|streams|memory/,
      });
      await allIsWell(t);
    }
    for (const memory of ['embedded', 'qemu'] as const) {
      for (const bytes of [2 ** 30, 4 * 2 ** 20]) {
        const peer = (await locked()).say(test({ memory, bytes }));
        await refused(t, peer, 'target-out-of-memory', /node a has no .* free for a link test/);
      }
    }
  });
  await t.test('pages beyond its memory, a blob, a round that is not due', async (t) => {
    for (const [frames, code] of [
      [[encodePagesHeader({ region: 0, firstPage: 100, pageCount: 200 }), page], 'out-of-range'],
      [[encodeZeroPages({ region: 0, firstPage: 256, pageCount: 1 })], 'out-of-range'],
      [[encodeZeroPages({ region: 1, firstPage: 0, pageCount: 1 })], 'out-of-range'],
      [[encodeBlobHeader('device-state', 0, 8), page.subarray(0, 8)], 'unexpected-message'],
      [[encodeRoundEnd(1)], 'unexpected-message'],
      [[new Uint8Array(24)], 'bad-frame'],
    ] as const) {
      for (const memory of ['embedded', 'qemu'] as const) {
        for (const number of [0, 1]) {
          const peer = (await locked()).say(test({ memory }));
          say((await opened(peer, 2))[number]!, ...frames);
          t.match(await peer.hear('error'), { code }, `${code}, ${memory}, stream ${number}`);
          peer.socket.cut();
          await allIsWell(t);
        }
      }
    }
  });
  await t.test('a source that goes away, at each point', async (t) => {
    for (const node of ['evil', 'mute']) {
      for (const memory of ['embedded', 'qemu'] as const) {
        const at = (await locked(node)).say(test({ memory }));
        at.socket.cut();
        await allIsWell(t);
      }
    }
    const peer = (await locked()).say(test({ memory: 'qemu' }));
    say((await opened(peer, 2))[1]!, large, page);
    peer.socket.cut();
    await allIsWell(t);
  });
});

await t.test('page streams that a stranger opens at a source', async (t) => {
  for (const [id, stream, token] of [
    ['m-nobody-here', '0', 'x'],
    ['m-nobody-here', '99', ''],
    ['%00', '0', ''],
  ]) {
    const path = `${PAGE_STREAM_PATH}?migration=${id}&stream=${stream}`;
    const refusal = await refusedUpgrade(url, path, {
      upgrade: PAGE_STREAM_PROTOCOL,
      [PAGE_TOKEN_HEADER]: token!,
    });
    t.match(refusal, { error: { code: /^(not-found|invalid-request)$/ } });
  }
  await allIsWell(t);
});

await t.test('after all of it nothing was a defect', (t) => {
  const { log, process } = lab.agent('a');
  t.equal(process.exitCode, null);
  t.strictSame(
    log.filter(
      ({ error, msg }) =>
        (error as { code?: string } | undefined)?.code === 'internal' || /unhandled/.test(String(msg)),
    ),
    [],
  );
  t.end();
});
