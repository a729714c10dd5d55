import t from 'tap';
import type { Connection } from '../../agent/link/connection.js';
import { sourceControl, targetControl } from '../../agent/link/control-channel.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { Conversation } from '../../agent/source/conversation.js';
import { PageSending } from '../../agent/source/page-sending.js';
import { StreamChoice } from '../../agent/source/stream-choice.js';
import { SOURCE_TIMEOUTS } from '../../agent/source/source-context.js';
import type { MigrationError } from '../../shared/errors.js';
import { ArrayGuest } from '../support/array-guest.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

const BYTES_PER_SECOND = 64 * 1024;
const PAGES = 2000;
/** Longer than the time for the acknowledgement, and than that for a stall. */
const SENDING_MS = ((PAGES * 4096) / BYTES_PER_SECOND) * 1000;

/** A connection that takes so many bytes a second, one message after the other. */
function slow(connection: Connection, timers: VirtualTimers): Connection {
  let freeAt = 0;
  connection.send = (data) =>
    new Promise((resolve) => {
      freeAt = Math.max(freeAt, timers.now()) + (data.length / BYTES_PER_SECOND) * 1000;
      timers.after(freeAt - timers.now(), resolve);
    });
  return connection;
}

/** All that fits into flight is handed over, then the barrier is waited for. */
async function atBarrier() {
  const timers = new VirtualTimers();
  const [near, far] = connectedPair();
  const failures: MigrationError[] = [];
  const conversation = new Conversation(sourceControl(near), 'b', (error) => failures.push(error), timers);
  const guest = new ArrayGuest('vm', PAGES);
  for (let page = 0; page < PAGES; page += 1) guest.write(0, page, 1);
  const sender = new StreamedPageSender([slow(connectedPair()[0], timers)], { peer: 'node b' });
  const sending = new PageSending(sender, conversation, {
    subject: { id: 'm-00000001', vm: 'vm', from: 'a', to: 'b' },
    guest,
    timeouts: SOURCE_TIMEOUTS,
    now: () => timers.now(),
    onProgress: () => undefined,
    timers,
    choice: new StreamChoice(1, 1),
    signal: new AbortController().signal,
    onStall: (error) => failures.push(error),
  });
  await sending.runs(0, [{ region: 0, firstPage: 0, pageCount: PAGES }]);
  let outcome: 'waiting' | 'acknowledged' | MigrationError = 'waiting';
  sending.barrier(0).then(
    () => (outcome = 'acknowledged'),
    (error: unknown) => (outcome = error as MigrationError),
  );
  return { timers, target: targetControl(far), failures, outcome: () => outcome };
}

void t.test('a slow link may take as long as it gets on', async (t) => {
  t.ok(SENDING_MS > 2 * SOURCE_TIMEOUTS.roundAckMs);
  const { timers, target, failures, outcome } = await atBarrier();
  await timers.advance(SENDING_MS + SOURCE_TIMEOUTS.roundAckMs / 2);
  t.equal(outcome(), 'waiting');
  await target.send({ type: 'round-ack', round: 0 });
  await timers.advance(0);
  t.equal(outcome(), 'acknowledged');
  t.strictSame(failures, []);
  t.equal(timers.pending, 0);
});

void t.test('once it has taken all, the answer has its limit', async (t) => {
  const { timers, outcome } = await atBarrier();
  await timers.advance(SENDING_MS + SOURCE_TIMEOUTS.roundAckMs + 1000);
  t.match(outcome(), { code: 'timeout', message: /round-ack/ });
});
