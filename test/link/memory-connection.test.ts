import t from 'tap';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { ended } from '../support/link-endpoints.js';
import { corruptsByte, delayed, dropsAtByte, rateLimited, resplit } from '../support/link-faults.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

void t.test('messages arrive in order; a pause is felt by the sender', async (t) => {
  const [near, far] = connectedPair();
  const heard: number[] = [];
  far.onMessage((data) => heard.push(data[0] ?? -1));
  await near.send(Uint8Array.of(1));
  far.setReadPaused(true);
  let resolved = false;
  const second = near.send(Uint8Array.of(2)).then(() => (resolved = true));
  await new Promise((resolve) => setImmediate(resolve));
  t.same([heard, resolved], [[1], false]);
  far.setReadPaused(false);
  await second;
  t.same(heard, [1, 2]);
});

void t.test('a close ends both sides once, what was sent before comes first', async (t) => {
  const [near, far] = connectedPair();
  const ends = Promise.all([ended(near), ended(far)]);
  void near.send(Uint8Array.of(7)).catch(() => undefined);
  near.close(4000, 'done');
  near.close(4001, 'again');
  t.same(await ends, [
    { code: 4000, reason: 'done', local: true },
    { code: 4000, reason: 'done', local: false },
  ]);
  const late = await new Promise((resolve) => far.onMessage((data) => resolve(data[0])));
  t.equal(late, 7);
  await t.rejects(far.send(Uint8Array.of(1)), { code: 'link-lost' });
});

void t.test('faults: delay and rate on virtual time', async (t) => {
  const timers = new VirtualTimers();
  const [near, far] = connectedPair();
  const heard: [number, number][] = [];
  far.onMessage((data) => heard.push([data.length, timers.now()]));
  const slow = rateLimited(delayed(near, 100, timers), 1000, timers);
  const sends = Promise.all([slow.send(new Uint8Array(500)), slow.send(new Uint8Array(250))]);
  await timers.advance(2000);
  await sends;
  t.same(heard, [
    [500, 600],
    [250, 950],
  ]);
});

void t.test('faults: a drop, a flipped byte, other boundaries', async (t) => {
  const [near, far] = connectedPair();
  const heard: Buffer[] = [];
  far.onMessage((data) => heard.push(Buffer.from(data)));
  const bad = resplit(
    corruptsByte(
      dropsAtByte(near, 6, () => near.cut('dropped')),
      2,
      0xff,
    ),
    [1, 2],
  );
  await bad.send(Uint8Array.of(1, 2, 3, 4));
  t.equal(heard.map((data) => data.toString('hex')).join(' '), '01 02fc 04');
  const end = ended(far);
  await t.rejects(bad.send(Uint8Array.of(5, 6, 7, 8)), { code: 'link-lost' });
  t.match(await end, { code: 1006, reason: 'dropped' });
  t.equal(Buffer.concat(heard).toString('hex'), '0102fc040506');
});
