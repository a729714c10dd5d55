import t from 'tap';
import {
  MAX_BACKLOG_MESSAGES,
  MAX_UNSENT_BYTES,
  sourceControl,
  targetControl,
} from '../../agent/link/control-channel.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { MigrationError } from '../../shared/errors.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { ended } from '../support/link-endpoints.js';

function channels() {
  const [near, far] = connectedPair();
  return { source: sourceControl(near), target: targetControl(far), near, far };
}

void t.test('every receiver hears every message, until it is removed', async (t) => {
  const { source, target } = channels();
  const heard: string[] = [];
  const remove = target.onMessage(({ type }) => heard.push(`first ${type}`));
  target.onMessage(({ type }) => heard.push(`second ${type}`));
  await source.send({ type: 'ask' });
  remove();
  await source.send({ type: 'commit' });
  t.same(heard, ['first ask', 'second ask', 'second commit']);
});

void t.test('the last words are heard before the end', async (t) => {
  const { source, target } = channels();
  void target.send({ type: 'error', code: 'internal', message: 'it broke', retryable: false });
  target.close(CLOSE_CODES.internal, 'it broke');
  await new Promise((resolve) => setImmediate(resolve));
  const heard: string[] = [];
  const end = new Promise((resolve) =>
    source.onClose((closed) => {
      heard.push('end');
      resolve(closed);
    }),
  );
  source.onMessage(({ type }) => heard.push(type));
  t.match(await end, { code: CLOSE_CODES.internal, local: false });
  t.same(heard, ['error', 'end']);
});

void t.test('a message that is not valid ends the connection on both sides', async (t) => {
  const { source, target, near } = channels();
  const ends = Promise.all([ended(source), ended(target)]);
  await near.send(Buffer.from('93010203', 'hex'));
  const [far, own] = await ends;
  t.match(own, { code: CLOSE_CODES['bad-message'], local: true, reason: /control message of the source/ });
  t.match(far, { code: CLOSE_CODES['bad-message'], local: false });
  await t.rejects(source.send({ type: 'ask' }), { code: 'link-lost' });
});

void t.test('a receiver that throws ends the connection with its code', async (t) => {
  const { source, target } = channels();
  target.onMessage(() => {
    throw new MigrationError('unexpected-message', 'commit is not allowed now');
  });
  const end = ended(source);
  await source.send({ type: 'commit' });
  t.match(await end, { code: CLOSE_CODES['unexpected-message'], reason: 'commit is not allowed now' });
});

void t.test('messages that nobody waits for are kept up to a limit', async (t) => {
  const { source, target } = channels();
  const end = ended(target);
  for (let count = 0; count < MAX_BACKLOG_MESSAGES; count += 1) await source.send({ type: 'ask' });
  let heard = 0;
  await new Promise<void>((resolve) => {
    const remove = target.onMessage(() => {
      if (++heard === MAX_BACKLOG_MESSAGES) {
        remove();
        resolve();
      }
    });
  });
  for (let count = 0; count <= MAX_BACKLOG_MESSAGES; count += 1) await source.send({ type: 'ask' });
  t.match(await end, { code: CLOSE_CODES['limit-exceeded'], local: true });
});

void t.test('what cannot be said is refused here', async (t) => {
  const { source } = channels();
  await t.rejects(
    source.send({ type: 'finalize', round: 0, stateDigest: 'x', pagesSent: -1, resume: true }),
    {
      code: 'bad-message',
      message: /stateDigest: .*pagesSent: /,
    },
  );
});

void t.test('a peer that asks and does not read is cut off', async (t) => {
  const { target, near, far } = channels();
  near.setReadPaused(true);
  const end = ended(target);
  const hashes = new Uint8Array(8 * 4096);
  const answer = { type: 'verify-hashes', region: 0, firstPage: 0, hashes } as const;
  const answers = Array.from({ length: 100 }, () => target.send(answer));
  const failures = await Promise.allSettled(answers);
  t.ok(failures.every(({ status }) => status === 'rejected'));
  t.match(failures[Math.ceil(MAX_UNSENT_BYTES / hashes.length)], { reason: { code: 'limit-exceeded' } });
  t.match(await end, { code: CLOSE_CODES['limit-exceeded'], local: true, reason: /does not read/ });
  t.match(await ended(far), { code: CLOSE_CODES['limit-exceeded'] });
});

void t.test('messages that the peer reads are not counted any more', async (t) => {
  const { source, target } = channels();
  source.onMessage(() => undefined);
  const hashes = new Uint8Array(8 * 4096);
  for (let sent = 0; sent < 2 * MAX_UNSENT_BYTES; sent += hashes.length) {
    await target.send({ type: 'verify-hashes', region: 0, firstPage: 0, hashes });
  }
  t.pass('all of them were taken');
});
