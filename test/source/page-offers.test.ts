import t from 'tap';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { PageOffers } from '../../agent/source/page-offers.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import { ended } from '../support/link-endpoints.js';

const ID = 'm-test-0001';

void t.test('a stream is let in once, for the migration and the token that it was offered with', (t) => {
  const offers = new PageOffers();
  const offer = offers.offer(ID, 2, 'b');
  const other = offers.offer('m-test-0002', 2, 'c');
  t.not(offer.token, other.token);
  const notFound = { code: 'not-found' };
  t.throws(() => offers.authorize('m-test-0003', 0, offer.token, null), notFound);
  t.throws(() => offers.authorize(ID, 0, other.token, null), notFound);
  t.throws(() => offers.authorize(ID, 0, '', null), notFound);
  t.throws(() => offers.authorize(ID, 0, `${offer.token}x`, null), notFound);
  t.throws(() => offers.authorize(ID, 2, offer.token, null), { code: 'wrong-state' });
  const [near] = connectedPair();
  offers.authorize(ID, 1, offer.token, null)(near);
  t.throws(() => offers.authorize(ID, 1, offer.token, null), {
    code: 'wrong-state',
    message: /open already/,
  });
  t.ok(offers.authorize(ID, 0, offer.token, null));
  t.end();
});

void t.test('they are taken in the order of their numbers, and then no more are let in', (t) => {
  const offers = new PageOffers();
  const offer = offers.offer(ID, 3, 'b');
  const nears = [0, 1, 2].map(() => connectedPair()[0]);
  for (const stream of [2, 0, 1]) offers.authorize(ID, stream, offer.token, null)(nears[stream]!);
  t.strictSame(offer.take(), nears);
  t.throws(() => offers.authorize(ID, 0, offer.token, null), { code: 'not-found' });
  offer.withdraw();
  offer.withdraw();
  t.end();
});

void t.test('those that were not taken end with the offer, and those that were do not', async (t) => {
  const offers = new PageOffers();
  const used = offers.offer(ID, 1, 'b');
  const [near, far] = connectedPair();
  offers.authorize(ID, 0, used.token, null)(near);
  used.take();
  used.withdraw();
  far.onMessage(() => undefined);
  await near.send(Uint8Array.of(1));

  const unused = offers.offer(ID, 2, 'b');
  const [near2, far2] = connectedPair();
  offers.authorize(ID, 1, unused.token, null)(near2);
  unused.withdraw();
  t.match(await ended(far2), { code: CLOSE_DONE });
  t.throws(() => offers.authorize(ID, 0, unused.token, null), { code: 'not-found' });
  far.close(CLOSE_DONE, '');
});

void t.test('one that was never open, and one that has ended', async (t) => {
  const offers = new PageOffers();
  const offer = offers.offer(ID, 2, 'b');
  const [near, far] = connectedPair();
  offers.authorize(ID, 1, offer.token, null)(near);
  t.throws(() => offer.take(), { code: 'peer-failed', message: /node b said .* stream 0 is not open/ });
  offer.withdraw();
  t.match(await ended(far), { code: CLOSE_DONE }, 'the other one is let go');

  const second = offers.offer(ID, 1, 'b');
  const [near2, far2] = connectedPair();
  offers.authorize(ID, 0, second.token, null)(near2);
  const gone = ended(near2);
  far2.close(CLOSE_DONE, '');
  await gone;
  const [again] = connectedPair();
  offers.authorize(ID, 0, second.token, null)(again);
  t.strictSame(second.take(), [again], 'its place was free again');

  const third = offers.offer(ID, 1, 'b');
  const [near3, far3] = connectedPair();
  offers.authorize(ID, 0, third.token, null)(near3);
  const over = ended(near3);
  far3.close(CLOSE_DONE, '');
  await over;
  t.throws(() => third.take(), { code: 'link-lost', message: /stream 0 to node b has ended/ });
});
