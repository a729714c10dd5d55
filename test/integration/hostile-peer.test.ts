import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import msgpack from 'msgpack-lite';
import t, { type Test } from 'tap';
import { CONTROL_PATH, PAGES_PATH } from '../../agent/link/link-paths.js';
import type { ErrorCode } from '../../shared/errors.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { encodeSourceMessage } from '../../shared/protocol/control-codec.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../shared/protocol/frame.js';
import { AgentLab } from '../support/agent-lab.js';
import { BYSTANDER, bystanderIsWell } from '../support/bystander.js';
import { prepareMessage, RawPeer, RawSocket, refusedUpgrade } from '../support/raw-peer.js';

/**
 * What a peer can do wrong, done to an agent that hosts a healthy guest: each gets its documented error and close
 * code, the agent and its guest go on, and nothing of the intruder is left.
 */

const lab = await AgentLab.start(t, ['a', 'b'], {
  guestMemory: '4MiB',
  lock: { grace: '100ms' },
  log: { level: 'debug' },
});
const client = lab.client('a');
const { url } = lab.agent('a');
await lab.boot('a', BYSTANDER);

let attempts = 0;
const stranger = () => RawPeer.connect(url, `m-intruder-${(attempts += 1)}`);
const greeted = async () => await (await stranger()).greet();
const locked = async () => await (await greeted()).lock();

const allIsWell = (t: Test) => bystanderIsWell(t, client);

/** The peer is told the error, and its control connection is closed with the code of it. */
async function refused(t: Test, peer: RawPeer, code: ErrorCode, message: RegExp): Promise<void> {
  t.match(await peer.hear('error'), { code, message });
  t.match(await peer.socket.closed, { code: CLOSE_CODES[code] });
}

// Opened first, looked at last: it takes the five seconds that a handshake may take.
const silent = await RawSocket.open(url, CONTROL_PATH);

await t.test('pages and frames', async (t) => {
  const page = new Uint8Array(4096).fill(7);
  const patched = (frame: Uint8Array, offset: number, value: number) => {
    const copy = Uint8Array.from(frame);
    new DataView(copy.buffer).setUint32(offset, value, true);
    return copy;
  };
  const onePage = encodePagesHeader({ region: 0, firstPage: 0, pageCount: 1 });
  const zeroPage = encodeZeroPages({ region: 0, firstPage: 0, pageCount: 1 });
  const cases: [string, Uint8Array[], ErrorCode][] = [
    [
      'a page behind the end',
      [encodePagesHeader({ region: 0, firstPage: 256, pageCount: 1 }), page],
      'out-of-range',
    ],
    [
      'pages across the end',
      [encodePagesHeader({ region: 0, firstPage: 255, pageCount: 2 }), page],
      'out-of-range',
    ],
    [
      'zero pages across the end',
      [encodeZeroPages({ region: 0, firstPage: 250, pageCount: 7 })],
      'out-of-range',
    ],
    [
      'a page number of 2^40 - 1',
      [encodeZeroPages({ region: 0, firstPage: 2 ** 40 - 1, pageCount: 1 })],
      'out-of-range',
    ],
    ['a region that is none', [encodeZeroPages({ region: 1, firstPage: 0, pageCount: 1 })], 'out-of-range'],
    ['no page at all', [patched(zeroPage, 16, 0)], 'bad-frame'],
    ['too many zero pages', [patched(zeroPage, 16, 16_385)], 'bad-frame'],
    ['a payload that does not fit the count', [patched(onePage, 4, 4097)], 'bad-frame'],
    ['an oversized payload', [patched(onePage, 4, 0xffffffff)], 'bad-frame'],
    ['type 0', [new Uint8Array(24)], 'bad-frame'],
    ['type 200', [Uint8Array.from(zeroPage, (byte, at) => (at === 0 ? 200 : byte))], 'bad-frame'],
    ['a flag', [Uint8Array.from(zeroPage, (byte, at) => (at === 1 ? 1 : byte))], 'bad-frame'],
    [
      'an unknown kind of blob',
      [patched(encodeBlobHeader('device-state', 0, 8), 0, 0x00090003)],
      'bad-frame',
    ],
    [
      'a piece of a blob that does not follow',
      [encodeBlobHeader('device-state', 8, 8), page.subarray(0, 8)],
      'bad-frame',
    ],
    [
      'an image that was not announced',
      [encodeBlobHeader('program-image', 0, 8), page.subarray(0, 8)],
      'unexpected-message',
    ],
    ['a round that is not due', [encodeRoundEnd(1)], 'unexpected-message'],
  ];
  for (const [what, frames, code] of cases) {
    await t.test(what, async (t) => {
      const peer = await locked();
      const pages = await peer.pages(await peer.prepare());
      for (const frame of frames) pages.send(frame);
      t.match(await pages.closed, { code: CLOSE_CODES[code] });
      t.match(await peer.hear('error'), { code });
      peer.socket.cut();
      await allIsWell(t);
    });
  }

  await t.test('a text message, a message that is too large, a cut within a frame', async (t) => {
    for (const [data, code] of [
      ['pages?', CLOSE_CODES['bad-message']],
      [new Uint8Array(2 ** 20 + 1), 1009],
    ] as const) {
      const peer = await locked();
      const pages = await peer.pages(await peer.prepare());
      pages.send(data);
      t.equal((await pages.closed).code, code);
      await peer.hear('error');
      peer.socket.cut();
    }
    const peer = await locked();
    const pages = await peer.pages(await peer.prepare());
    pages.send(onePage);
    pages.cut();
    t.match(await peer.hear('error'), { code: 'link-lost' });
    peer.socket.cut();
    await allIsWell(t);
  });
});

await t.test('page connections', async (t) => {
  const peer = await locked();
  const token = await peer.prepare();
  const at = (id: string, stream: number | string) => `${PAGES_PATH}?migration=${id}&stream=${stream}`;
  const show = (text: string) => ({ 'x-vmferry-token': text });
  const { migrationId: id } = peer;
  t.match(await refusedUpgrade(url, at(id, 0), show('wrong')), { status: 404, error: { code: 'not-found' } });
  t.match(await refusedUpgrade(url, at(id, 0)), { status: 404, error: { code: 'not-found' } });
  t.match(await refusedUpgrade(url, at('m-nobody-here', 0), show(token)), { error: { code: 'not-found' } });
  t.match(await refusedUpgrade(url, at(id, 1), show(token)), { status: 409, error: { code: 'wrong-state' } });
  t.match(await refusedUpgrade(url, at(id, 99), show(token)), { error: { code: 'invalid-request' } });
  t.match(await refusedUpgrade(url, at('%00', 0), show(token)), { error: { code: 'invalid-request' } });
  const pages = await peer.pages(token);
  t.match(await refusedUpgrade(url, at(id, 0), show(token)), { status: 409, error: { code: 'wrong-state' } });
  pages.send(encodeRoundEnd(0));
  t.match(await peer.hear('round-ack'), { round: 0 }, 'the rightful stream has not suffered');
  peer.socket.cut();
  await allIsWell(t);
});

await t.test('handshakes', async (t) => {
  const hello = { versions: { min: 1, max: 1 }, node: 'evil', to: 'a' };
  const cases = [
    [
      'an unknown version',
      { ...hello, versions: { min: 7, max: 9 } },
      'version-unsupported',
      /update the older/,
    ],
    ['another node', { ...hello, to: 'b' }, 'wrong-node', /node a answers where b was meant/],
    ['the node itself', { ...hello, node: 'a' }, 'same-node', /both source and target/],
  ] as const;
  for (const [what, greeting, code, message] of cases) {
    await t.test(what, async (t) => {
      const peer = await stranger();
      peer.greet(greeting).catch(() => undefined);
      await refused(t, peer, code, message);
      await allIsWell(t);
    });
  }
  await t.test('none', async (t) => {
    const peer = await stranger();
    peer.say({ type: 'commit' });
    await refused(t, peer, 'unexpected-message', /commit where hello was due/);
  });
});

await t.test('control messages that are none', async (t) => {
  const nested = (depth: number) => Uint8Array.from([...Array<number>(depth).fill(0x91), 0xc0]);
  const proto = Uint8Array.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80]);
  const valid = encodeSourceMessage({ type: 'ask' });
  const cases: [string, Uint8Array | string, number][] = [
    ['a text message', '{"type":"ask"}', CLOSE_CODES['bad-message']],
    ['nothing', new Uint8Array(0), CLOSE_CODES['bad-message']],
    ['no MessagePack', Uint8Array.from([0xc1]), CLOSE_CODES['bad-message']],
    ['a cut message', valid.subarray(0, -1), CLOSE_CODES['bad-message']],
    ['bytes behind the message', Uint8Array.from([...valid, 0]), CLOSE_CODES['bad-message']],
    ['a key __proto__', proto, CLOSE_CODES['bad-message']],
    ['deep nesting', nested(60_000), CLOSE_CODES['bad-message']],
    ['an unknown type', msgpack.encode({ type: 'surrender' }), CLOSE_CODES['bad-message']],
    ['a field that is none', msgpack.encode({ type: 'ask', really: true }), CLOSE_CODES['bad-message']],
    ['a map of 2^32 - 1 pairs', Uint8Array.from([0xdf, 255, 255, 255, 255]), CLOSE_CODES['bad-message']],
    ['a message over the limit', new Uint8Array(70 * 1024), CLOSE_CODES['bad-message']],
    ['a message over twice the limit', new Uint8Array(200 * 1024), 1009],
  ];
  for (const [what, data, code] of cases) {
    await t.test(what, async (t) => {
      const before = await stranger();
      before.socket.send(data);
      t.equal((await before.socket.closed).code, code, 'before the handshake');
      const peer = await locked();
      await peer.prepare();
      peer.socket.send(data);
      t.equal((await peer.socket.closed).code, code, 'in the middle of a migration');
      await allIsWell(t);
    });
  }
});

await t.test('messages out of place', async (t) => {
  const finalize = {
    type: 'finalize',
    round: 0,
    stateDigest: '0'.repeat(16),
    pagesSent: 0,
    resume: true,
  } as const;
  const out = /'|not|state|lock/;
  await t.test('prepare without the lock', async (t) => {
    const peer = await greeted();
    await refused(t, peer.say(prepareMessage()), 'unexpected-message', /does not hold the lock of node a/);
  });
  await t.test('prepare while it waits for the lock', async (t) => {
    const holder = await locked();
    const peer = await greeted();
    peer.say({ type: 'lock-request', vm: 'intruder', requestedAt: 2 }).say({ type: 'lock-try' });
    await peer.hear('lock-busy');
    await refused(t, peer.say(prepareMessage()), 'unexpected-message', /does not hold the lock of node a/);
    holder.socket.cut();
  });
  await t.test('a lock message before lock-request', async (t) => {
    const peer = await greeted();
    await refused(t, peer.say({ type: 'lock-confirm' }), 'unexpected-message', /request first/);
  });
  for (const message of [{ type: 'commit' }, finalize] as const) {
    await t.test(`${message.type} before prepare`, async (t) => {
      const peer = await locked();
      peer.say(message);
      t.match(await peer.hear('error'), { code: 'unexpected-message', message: out });
      peer.socket.cut();
      await allIsWell(t);
    });
  }
  await t.test('a second hello', async (t) => {
    const peer = await greeted();
    peer.greet().catch(() => undefined);
    t.match(await peer.hear('error'), { code: 'unexpected-message' });
    peer.socket.cut();
  });
  await t.test('prepare twice', async (t) => {
    const peer = await locked();
    await peer.prepare();
    t.match(await peer.say(prepareMessage()).hear('error'), { code: 'unexpected-message' });
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('commit before ready', async (t) => {
    const peer = await locked();
    await peer.prepare();
    t.match(await peer.say({ type: 'commit' }).hear('error'), { code: 'unexpected-message' });
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('finalize twice', async (t) => {
    const peer = await locked();
    await peer.prepare();
    t.match(await peer.say(finalize).say(finalize).hear('error'), {
      code: /^(unexpected-message|bad-frame)$/,
    });
    peer.socket.cut();
    await allIsWell(t);
  });
  await t.test('finalize without the state, and with another count of pages', async (t) => {
    for (const [pagesSent, code] of [
      [0, 'unexpected-message'],
      [5, 'bad-frame'],
    ] as const) {
      const peer = await locked();
      const pages = await peer.pages(await peer.prepare());
      pages.send(encodeRoundEnd(0));
      t.match(await peer.say({ ...finalize, pagesSent }).hear('error'), { code });
      peer.socket.cut();
      await allIsWell(t);
    }
  });
  await t.test('a state that the guest cannot load', async (t) => {
    for (const digest of ['0'.repeat(16), 'ef46db3751d8e999']) {
      const peer = await locked();
      const pages = await peer.pages(await peer.prepare());
      pages.send(encodeBlobHeader('device-state', 0, 8));
      pages.send(new Uint8Array(8).fill(1));
      pages.send(encodeRoundEnd(0));
      await peer.hear('round-ack');
      t.match(await peer.say({ ...finalize, stateDigest: digest }).hear('error'), { code: 'load-failed' });
      peer.socket.cut();
      await allIsWell(t);
    }
  });
  await t.test('hashes of pages that do not exist', async (t) => {
    for (const wrong of [{ region: 3 }, { firstPage: 256 }, { firstPage: Number.MAX_SAFE_INTEGER }]) {
      const peer = await locked();
      await peer.prepare({ verify: 'strict' });
      peer.say({ type: 'verify-request', region: 0, firstPage: 0, pageCount: 1, ...wrong });
      t.match(await peer.hear('error'), { code: 'out-of-range' });
      peer.socket.cut();
    }
    await allIsWell(t);
  });
  await t.test('an offer of the lock that is never answered, then a cut', async (t) => {
    const peer = await greeted();
    peer.say({ type: 'lock-request', vm: 'intruder', requestedAt: 1 }).say({ type: 'lock-try' });
    await peer.hear('lock-granted');
    peer.socket.cut();
    await allIsWell(t);
  });
});

await t.test('guests that cannot come', async (t) => {
  type Overrides = Parameters<typeof prepareMessage>[0];
  const { definition } = prepareMessage();
  const MIB = 2 ** 20;
  const ofBytes = (memory: number) => ({
    definition: { ...definition, memory },
    regions: [{ name: 'ram', bytes: memory }],
  });
  const cases: [string, Overrides, ErrorCode][] = [
    ['one that is here already', { definition: { ...definition, name: 'healthy' } }, 'target-has-guest'],
    ['one that is too large', ofBytes(64 * MIB), 'target-out-of-memory'],
    ['a region of another size', { regions: [{ name: 'ram', bytes: 2 * MIB }] }, 'unsupported-guest'],
    ['a region of another name', { regions: [{ name: 'rom', bytes: MIB }] }, 'unsupported-guest'],
    [
      'one region more',
      { regions: [...prepareMessage().regions, { name: 'x', bytes: MIB }] },
      'unsupported-guest',
    ],
  ];
  for (const [what, overrides, code] of cases) {
    await t.test(what, async (t) => {
      const peer = await locked();
      t.match(await peer.say(prepareMessage(overrides)).hear('error'), { code });
      peer.socket.cut();
      const asking = await greeted();
      asking.say(prepareMessage({ ...overrides, dryRun: true }));
      t.match(await asking.hear('prepared'), { token: '', findings: [{ level: 'refusal', code }] });
      asking.socket.cut();
      await allIsWell(t);
    });
  }
  await t.test('an id that is under way', async (t) => {
    const peer = await locked();
    await peer.prepare();
    const twin = await (await RawPeer.connect(url, peer.migrationId)).greet();
    t.match(await twin.say(prepareMessage()).hear('error'), { code: 'duplicate-migration' });
    const other = await (await RawPeer.connect(url, peer.migrationId)).greet({ node: 'other' });
    other.say({ type: 'lock-request', vm: 'intruder', requestedAt: 1 });
    t.match(await other.hear('error'), { code: 'duplicate-migration' });
    peer.socket.cut();
    await allIsWell(t);
  });
});

await t.test('who asks for an outcome', async (t) => {
  const peer = await greeted();
  t.match(await peer.say({ type: 'ask' }).hear('answer'), { outcome: 'aborted' }, 'an unknown id is aborted');
  const late = await (await (await RawPeer.connect(url, peer.migrationId)).greet()).lock();
  late.say(prepareMessage());
  await refused(t, late, 'wrong-state', /outcome of migration/);
  const again = await (await RawPeer.connect(url, peer.migrationId)).greet();
  t.match(await again.say({ type: 'ask' }).hear('answer'), { outcome: 'aborted' }, 'and stays aborted');
  await allIsWell(t);

  const underWay = await locked();
  await underWay.prepare();
  const ask = async (node: string) =>
    (await (await RawPeer.connect(url, underWay.migrationId)).greet({ node })).say({ type: 'ask' });
  t.match(await (await ask('evil')).hear('answer'), { outcome: 'pending' });
  t.match(await (await ask('other')).hear('error'), { code: 'not-found' }, 'another node is told nothing');
  underWay.socket.cut();
  await allIsWell(t);
});

await t.test('what is no WebSocket at all', async (t) => {
  const port = Number(new URL(url).port);
  const head = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  for (const bytes of [
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET / HTTP/9.9\r\n\r\n',
    `GET ${CONTROL_PATH} HTTP/1.1\r\n${head}\r\n`,
    `GET ${CONTROL_PATH} HTTP/1.1\r\n${head}Sec-WebSocket-Version: 1\r\nSec-WebSocket-Key: x\r\n\r\n`,
    `POST /v1/migrations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{"a`,
  ]) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    let answer = '';
    socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
    socket.write(bytes, 'latin1');
    await once(socket, 'close');
    t.match(answer, /^HTTP\/1\.1 [45]\d\d /);
  }
  t.match(await refusedUpgrade(url, '/v1/link/elsewhere'), { status: 404 });
  t.match(await refusedUpgrade(url, CONTROL_PATH, { origin: 'http://evil.example' }), { status: 400 });
  await t.rejects(client.guest('nobody'), { code: 'not-found' });
  await t.rejects(client.startMigration({ vm: 'nobody', to: 'b', options: {} }), { code: 'not-found' });
  await allIsWell(t);
});

await t.test('too many connections, and silence', async (t) => {
  t.match(await silent.closed, { code: CLOSE_CODES.timeout }, 'a handshake that does not come times out');
  const crowd = await Promise.all(Array.from({ length: 32 }, () => RawSocket.open(url, CONTROL_PATH)));
  t.match(await refusedUpgrade(url, CONTROL_PATH), {
    status: 429,
    error: { code: 'limit-exceeded', retryable: true, message: /32 handshakes from 127\.0\.0\.1/ },
  });
  const other = await RawSocket.open(url, CONTROL_PATH, {}, '127.0.0.2');
  t.pass('another address is let in');
  for (const socket of [...crowd, other]) socket.cut();
  await allIsWell(t);
});

await t.test('a thousand strangers, idle or talking nonsense, cost little and shut nobody out', async (t) => {
  const { port } = new URL(url);
  const residentBytes = async () => (await lab.client('a').status()).node.process.residentBytes;
  const before = await residentBytes();
  const strangers: Socket[] = [];
  t.teardown(() => strangers.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 1000; i += 1) {
    const socket = connect({ host: '127.0.0.1', port: Number(port), localAddress: `127.0.0.${3 + (i % 2)}` });
    socket.on('error', () => undefined);
    strangers.push(socket);
    await once(socket, 'connect');
    if (i % 3 === 1) socket.write('GET /v1/node HTTP/1.1\r\nX: ');
    if (i % 3 === 2) socket.write(randomBytes(1024));
  }
  await allIsWell(t);
  const grown = (await residentBytes()) - before;
  t.ok(grown < 128 * 2 ** 20, `${grown} bytes of resident memory`);
  const peer = await (await RawPeer.connect(url, 'm-behind-a-crowd')).greet();
  peer.socket.cut();
});

await t.test('after all of it, a guest still leaves and another one comes', async (t) => {
  t.match(await lab.migrate('healthy', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
  t.match(await lab.migrate('healthy', 'b', 'a', { verify: 'strict' }), { outcome: 'completed' });
  t.strictSame(await lab.whereIs('healthy'), { a: 'running' });
  const { log } = lab.agent('a');
  t.strictSame(
    log.filter(({ error }) => (error as { code?: string } | undefined)?.code === 'internal'),
    [],
    'nothing was a defect',
  );
});
