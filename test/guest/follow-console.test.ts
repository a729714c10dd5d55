import t from 'tap';
import { followConsole } from '../../agent/guest/follow-console.js';
import { definitionOf } from '../support/array-guest.js';
import { HostedArrayGuest } from '../support/hosted-array-guest.js';

function follow(guest: HostedArrayGuest, position: number, follow: boolean) {
  const stop = new AbortController();
  const chunks = followConsole(guest, {
    position,
    follow,
    signal: stop.signal,
    gone: () => null,
    onGone: new Set(),
  });
  return { chunks, stop };
}

void t.test(
  'a position beyond the end is told where the end is, and what is printed then follows',
  async (t) => {
    const guest = new HostedArrayGuest(definitionOf('web'));
    guest.print('abc');
    const { chunks } = follow(guest, 1000, true);
    t.strictSame((await chunks.next()).value, { position: 3, end: 3, text: '' });
    const next = chunks.next();
    guest.print('def');
    t.strictSame((await next).value, { position: 3, end: 6, text: 'def' });
    guest.finish();
    t.strictSame(await chunks.next(), { done: true, value: { reason: 'finished', to: null } });
  },
);

void t.test('a position at the end waits; one before it reads', async (t) => {
  const guest = new HostedArrayGuest(definitionOf('web'));
  guest.print('abc');
  const { chunks, stop } = follow(guest, 3, true);
  const next = chunks.next();
  stop.abort();
  t.strictSame(await next, { done: true, value: null });
  t.strictSame((await follow(guest, 1, false).chunks.next()).value, { position: 1, end: 3, text: 'bc' });
  t.strictSame((await follow(guest, 9, false).chunks.next()).value, { position: 3, end: 3, text: '' });
});
