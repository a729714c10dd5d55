import t from 'tap';
import { hashHex } from '../../agent/guest/page-hash.js';
import { wholeState } from '../../agent/guest/whole-state.js';
import { ArrivingState } from '../../agent/target/arriving-state.js';
import { MigrationError } from '../../shared/errors.js';
import { MAX_BLOB_BYTES } from '../../shared/protocol/frame.js';

void t.test('what came is given out when its round has ended, and the end when it is whole', async (t) => {
  const state = new ArrivingState();
  t.equal(state.release(), false, 'there is nothing yet');
  const reading = state[Symbol.asyncIterator]();
  let given: unknown = null;
  const first = reading.next().then((result) => (given = result));
  const piece = new Uint8Array([1, 2]);
  state.add(0, piece);
  // What is delivered is valid during the call only.
  piece.fill(0);
  state.add(2, new Uint8Array([3]));
  await new Promise((resolve) => setImmediate(resolve));
  state.endRound();
  state.add(3, new Uint8Array([4]));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(given, null, 'not before, though the next round has begun');
  t.equal(state.release(), true);
  t.same(await first, { value: new Uint8Array([1, 2, 3]), done: false });
  t.equal(state.release(), true, 'which is not over');
  state.complete(hashHex(new Uint8Array([1, 2, 3, 4])));
  t.same((await reading.next()).value, new Uint8Array([4]));
  t.equal((await reading.next()).done, true);
});

void t.test('all of it at once', async (t) => {
  const state = new ArrivingState();
  state.add(0, new Uint8Array([1, 2, 3]));
  state.complete(hashHex(new Uint8Array([1, 2, 3])));
  t.same(await wholeState(state), new Uint8Array([1, 2, 3]));
});

void t.test('one that is damaged never comes to an end', async (t) => {
  const state = new ArrivingState();
  state.add(0, new Uint8Array([1, 2, 3]));
  state.endRound();
  state.release();
  const reading = wholeState(state);
  t.throws(() => state.complete(hashHex(new Uint8Array([1, 2, 4]))), {
    code: 'load-failed',
    message: /of 3 bytes arrived damaged or in part/,
  });
  const error = new MigrationError('link-lost', 'a test');
  state.fail(error);
  await t.rejects(reading, error);
});

void t.test('what does not follow, is too much, or nothing at all', (t) => {
  const state = new ArrivingState();
  t.throws(() => state.complete(hashHex(new Uint8Array())), { code: 'unexpected-message' });
  state.add(0, new Uint8Array(5));
  t.throws(() => state.add(4, new Uint8Array(1)), { code: 'bad-frame' });
  t.throws(() => state.add(6, new Uint8Array(1)), { code: 'bad-frame' });
  t.throws(() => state.add(5, new Uint8Array(MAX_BLOB_BYTES - 4)), { code: 'limit-exceeded' });
  t.end();
});

void t.test('a failure after its end changes nothing', async (t) => {
  const state = new ArrivingState();
  state.add(0, new Uint8Array([1]));
  state.complete(hashHex(new Uint8Array([1])));
  state.fail(new MigrationError('link-lost', 'a test'));
  t.same(await wholeState(state), new Uint8Array([1]));
});
