import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { hashHex } from '../../agent/guest/page-hash.js';
import { SILENT_SOURCE_MS } from '../../agent/target/silent-source.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { encodeBlobHeader, encodePagesHeader, encodeRoundEnd } from '../../shared/protocol/frame.js';
import { VirtualTimers } from '../lock/virtual-timers.js';
import type { HostedArrayGuest } from '../support/hosted-array-guest.js';
import { startLiveTarget, UPGRADED } from '../support/live-target.js';
import { prepareMessage, RawPeer } from '../support/raw-peer.js';

/** Sources that hold a node for next to nothing, over real sockets: the time alone is a virtual one. */

const VM = 'slow';
const timers = new VirtualTimers();
let guest: HostedArrayGuest | null = null;
const target = await startLiveTarget({ timers, onMake: (made) => void (guest = made) });
t.teardown(() => target.close());

let attempts = 0;
async function locked(): Promise<RawPeer> {
  const peer = await RawPeer.connect(target.url, `m-slow-${(attempts += 1)}`);
  await (await peer.greet({ node: 'evil', to: 'node-b' })).lock(VM);
  while (target.lock.holder !== peer.migrationId) await setImmediate();
  return peer;
}

const prepare = (overrides: Parameters<typeof prepareMessage>[0] = {}) =>
  prepareMessage({
    definition: { ...prepareMessage().definition, name: VM },
    regions: [{ name: 'ram0', bytes: 2 ** 20 }],
    ...overrides,
  });

const hasArrived = (byte: number) => guest!.regions[0]!.memory[byte - 1] === 1;

/** One byte of a frame each second, which does arrive, until the node is taken back. */
async function trickles(t: Test, peer: RawPeer, send: (bytes: Uint8Array) => void): Promise<void> {
  send(encodePagesHeader({ region: 0, firstPage: 0, pageCount: 256 }));
  let sent = 0;
  while (target.lock.holder === peer.migrationId && sent < (2 * SILENT_SOURCE_MS) / 1000) {
    send(Uint8Array.of(1));
    sent += 1;
    while (target.lock.holder === peer.migrationId && !hasArrived(sent)) await setImmediate();
    await timers.advance(1000);
  }
  t.ok(sent > SILENT_SOURCE_MS / 1000, `${sent} bytes arrived`);
  t.match(await peer.hear('error'), { code: 'timeout', message: /at least 16384 bytes/ });
  t.equal((await peer.socket.closed).code, CLOSE_CODES.timeout);
  await target.endpoint.connectionsLeft(0);
  while (target.incoming.list().some(({ phase }) => phase !== 'ended')) await setImmediate();
  t.strictSame(target.guests.list(), []);
  t.equal(target.lock.holder, null);
}

await t.test('pages that trickle over WebSocket', async (t) => {
  const peer = await locked();
  peer.say(prepare());
  const pages = await peer.pages((await peer.hear('prepared')).token);
  await trickles(t, peer, (bytes) => pages.send(bytes));
});

await t.test('pages that trickle over TCP', async (t) => {
  const peer = await locked();
  const dialled = new Promise<Socket>((resolve) => (target.source.dialled = resolve));
  peer.say(prepare({ pageToken: 'offered' }));
  const stream = (await dialled).setNoDelay();
  await once(stream, 'data');
  stream.write(UPGRADED);
  t.equal((await peer.hear('prepared')).transport, 'tcp');
  await trickles(t, peer, (bytes) => void stream.write(bytes));
});

await t.test('dry runs, one after the other, while it has the node', async (t) => {
  const peer = await locked();
  let answered = 0;
  while (target.lock.holder === peer.migrationId && answered < 8) {
    peer.socket.heard.length = 0;
    peer.say(prepare({ dryRun: true }));
    t.match(await peer.hear('prepared'), { token: '' });
    answered += 1;
    await timers.advance(SILENT_SOURCE_MS / 2);
  }
  t.ok(answered < 8, `${answered} dry runs were answered`);
  t.match(await peer.hear('error'), { code: 'timeout' });
  t.equal((await peer.socket.closed).code, CLOSE_CODES.timeout);
  t.equal(target.lock.holder, null);
});

await t.test('dry runs, all at once', async (t) => {
  const peers = await Promise.all(
    Array.from({ length: 24 }, async (_, at) =>
      (await RawPeer.connect(target.url, `m-dry-run-${at}`)).greet({ node: 'evil', to: 'node-b' }),
    ),
  );
  for (const peer of peers) peer.say(prepare({ dryRun: true }));
  for (const peer of peers) t.match(await peer.hear('prepared'), { token: '' }, 'each has its turn');
  for (const peer of peers) peer.say(prepare({ dryRun: true })).say(prepare({ dryRun: true }));
  for (const peer of peers) t.match(await peer.hear('error'), { code: 'unexpected-message' });
  for (const peer of peers) peer.socket.cut();
  await target.endpoint.connectionsLeft(0);
});

await t.test('hashes, after the commit, again and again', async (t) => {
  const peer = await locked();
  peer.say(prepare({ verify: 'after' }));
  const pages = await peer.pages((await peer.hear('prepared')).token);
  const state = Uint8Array.of(1, 2, 3);
  for (const frame of [encodeBlobHeader('device-state', 0, 3), state, encodeRoundEnd(0)]) pages.send(frame);
  peer.say({ type: 'finalize', round: 0, stateDigest: hashHex(state), pagesSent: 0, resume: true });
  await peer.hear('ready');
  await peer.say({ type: 'commit' }).hear('running');
  const question = { type: 'verify-request', region: 0, firstPage: 0, pageCount: 256 } as const;
  await peer.say(question).hear('verify-hashes');
  t.match(await peer.say(question).hear('error'), { code: 'limit-exceeded', message: /each page once/ });
  t.equal((await peer.socket.closed).code, CLOSE_CODES['limit-exceeded']);
  t.match(target.guests.list(), [{ name: VM, status: 'running' }], 'the guest is none the worse for it');
});
