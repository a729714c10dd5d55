import t from 'tap';
import { hashHex } from '../../agent/guest/page-hash.js';
import { StateSending } from '../../agent/source/state-sending.js';
import { MAX_BLOB_BYTES } from '../../shared/protocol/frame.js';

void t.test('pieces are sent in order, each after the one before it', async (t) => {
  const sent: [number, number][] = [];
  let go: () => void = () => undefined;
  const state = new StateSending({
    blob: async (kind, offset, data) => {
      t.equal(kind, 'device-state');
      sent.push([offset, data.length]);
      await new Promise<void>((resolve) => (go = resolve));
    },
  });
  state.take(new Uint8Array([1, 2]));
  state.take(new Uint8Array([3]));
  t.equal(state.bytes, 3);
  const whole = state.sent();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(sent, [[0, 2]]);
  go();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(sent, [
    [0, 2],
    [2, 1],
  ]);
  go();
  t.equal(await whole, hashHex(new Uint8Array([1, 2, 3])));
});

void t.test('what can not be sent is told when it is asked for', async (t) => {
  const state = new StateSending({ blob: () => Promise.reject(new Error('a test')) });
  state.take(new Uint8Array(1));
  await new Promise((resolve) => setImmediate(resolve));
  await t.rejects(state.sent(), { message: 'a test' });
  const large = new StateSending({ blob: () => Promise.resolve() });
  large.take(new Uint8Array(MAX_BLOB_BYTES));
  large.take(new Uint8Array(1));
  await t.rejects(large.sent(), { code: 'guest-failed', message: /more than 67108864 bytes/ });
});
