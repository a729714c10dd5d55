import fc from 'fast-check';
import t from 'tap';
import { Pacer } from '../../agent/link/pacer.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

void t.test('the rate is exact over a second', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 50_000, max: 2e9 }),
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 10 }),
      async (rate, percents) => {
        const timers = new VirtualTimers();
        const pacer = new Pacer(rate, timers);
        let taken = 0;
        let running = true;
        const taking = (async () => {
          for (let turn = 0; running; turn += 1) {
            const share = percents[turn % percents.length] ?? 100;
            const bytes = Math.max(1, Math.floor((pacer.pieceBytes * share) / 100));
            await pacer.take(bytes);
            if (running) taken += bytes;
          }
        })();
        await timers.advance(1000);
        const inOneSecond = taken;
        running = false;
        await timers.advance(1000);
        await taking;
        // at most the piece that is being paid for may be missing or early
        return Math.abs(inOneSecond - rate) <= pacer.pieceBytes;
      },
    ),
    { numRuns: 15 },
  );
  t.pass();
});

void t.test('what a pause leaves unused is caught up with for 50 ms only', async (t) => {
  const timers = new VirtualTimers();
  const pacer = new Pacer(1_000_000, timers);
  await timers.advance(10_000);
  let passed = 0;
  const taking = (async () => {
    for (let piece = 0; piece < 100; piece += 1) {
      await pacer.take(1000);
      passed += 1;
    }
  })();
  await timers.advance(0);
  t.equal(passed, 51);
  await timers.advance(100);
  await taking;
  t.equal(passed, 100);
});

void t.test('a wait ends early when it is aborted', async (t) => {
  const timers = new VirtualTimers();
  const abort = new AbortController();
  const pacer = new Pacer(1000, timers);
  await pacer.take(1_000_000);
  const waiting = pacer.take(1, abort.signal);
  abort.abort();
  await waiting;
  t.equal(timers.pending, 0);
});

void t.test('a piece is whole pages, at least one', (t) => {
  const timers = new VirtualTimers();
  t.equal(new Pacer(1, timers).pieceBytes, 4096);
  t.equal(new Pacer(125_000_000, timers).pieceBytes, 305 * 4096);
  t.end();
});
