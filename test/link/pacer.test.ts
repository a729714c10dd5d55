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

void t.test('what a pause leaves unused is caught up with for 20 ms only', async (t) => {
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
  t.equal(passed, 21);
  await timers.advance(100);
  await taking;
  t.equal(passed, 100);
});

void t.test('a wait ends early when it is aborted', async (t) => {
  const timers = new VirtualTimers();
  const abort = new AbortController();
  const pacer = new Pacer(1000, timers, abort.signal);
  await pacer.take(1_000_000);
  const waiting = pacer.take(1);
  abort.abort();
  await waiting;
  t.equal(timers.pending, 0);
});

void t.test('a piece is whole pages, at least one', (t) => {
  const timers = new VirtualTimers();
  t.equal(new Pacer(1, timers).pieceBytes, 4096);
  t.equal(new Pacer(125_000_000, timers).pieceBytes, 152 * 4096);
  t.end();
});

void t.test(
  'with timers that fire late no second has more than 3 % too much, and none too little',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 10_000_000, max: 2e9 }), fc.nat(15), async (rate, lateMs) => {
        const timers = new VirtualTimers();
        const late = {
          now: () => timers.now(),
          after: (ms: number, f: () => void) => timers.after(ms + lateMs, f),
        };
        const pacer = new Pacer(rate, late);
        const taken: { at: number; bytes: number }[] = [];
        let running = true;
        const taking = (async () => {
          while (running) {
            const bytes = pacer.pieceBytes;
            await pacer.take(bytes);
            taken.push({ at: timers.now(), bytes });
          }
        })();
        await timers.advance(3000);
        running = false;
        await timers.advance(1000);
        await taking;
        // windows that begin with a piece have most in them
        return taken
          .filter(({ at }) => at <= 2000)
          .every(({ at: start }) => {
            const bytes = taken.reduce(
              (sum, each) => sum + (each.at >= start && each.at < start + 1000 ? each.bytes : 0),
              0,
            );
            return bytes <= rate * 1.03 && bytes >= rate * 0.97;
          });
      }),
      { numRuns: 5 },
    );
    t.pass();
  },
);

void t.test('the rate can be changed while somebody waits', async (t) => {
  const timers = new VirtualTimers();
  const pacer = new Pacer(1000, timers);
  t.equal(pacer.limited, true);
  await pacer.take(4000);
  let passed = false;
  const waiting = pacer.take(1).then(() => (passed = true));
  await timers.advance(1000);
  t.equal(passed, false, 'three seconds are owed');
  pacer.change(100_000);
  await timers.advance(29);
  t.equal(passed, false, 'what is owed is paid at the new rate: 30 ms');
  await timers.advance(1);
  t.equal(passed, true);
  await timers.advance(1);
  await pacer.take(1_000_000);
  const unlimited = pacer.take(1);
  pacer.change(0);
  await unlimited;
  t.equal(pacer.limited, false);
  t.equal(pacer.pieceBytes, Infinity);
  await waiting;
});

void t.test('a lower rate holds nobody up for longer than a piece of it takes', async (t) => {
  for (const before of [0, 125_000_000]) {
    const timers = new VirtualTimers();
    const pacer = new Pacer(before, timers);
    const pieceBytes = Math.min(pacer.pieceBytes, 2 ** 20);
    await pacer.take(pieceBytes);
    pacer.change(8000);
    // Cut when the rate was another.
    const taken = pacer.take(pieceBytes).then(() => pacer.take(4096));
    await timers.advance((2 * 1000 * (4096 + 64)) / 8000);
    await taken;
    t.equal(timers.pending, 0, `from ${before} bytes/s`);
  }
});
