import fc from 'fast-check';
import t from 'tap';
import { writeRate, writtenBytes, type WorkingSet } from '../../../scripts/simulate/dirtying.js';

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));

void t.test('in turn: what was written, up to the whole set', (t) => {
  const sets: WorkingSet[] = [{ bytes: 1000, bytesPerMs: 10, order: 'in-turn' }];
  t.equal(writtenBytes(sets, 0), 0);
  t.equal(writtenBytes(sets, 40), 400);
  t.equal(writtenBytes(sets, 100), 1000);
  t.equal(writtenBytes(sets, 4000), 1000);
  t.end();
});

void t.test('at random: pages that are hit twice count once', (t) => {
  const sets: WorkingSet[] = [{ bytes: 1000, bytesPerMs: 10, order: 'random' }];
  t.ok(near(writtenBytes(sets, 100), 1000 * (1 - 1 / Math.E)), 'as many writes as pages: 63 %');
  t.ok(near(writtenBytes(sets, 100 * Math.LN2), 500));
  t.end();
});

void t.test('by the formula as many pages are hit as when they are drawn one by one', (t) => {
  // a linear congruential generator (Knuth's MMIX), to draw the same each time
  let state = 1n;
  const draw = (most: number) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    return Number(state >> 33n) % most;
  };
  const hit = new Set<number>();
  for (let write = 0; write < 15_000; write += 1) hit.add(draw(10_000));
  const expected = writtenBytes([{ bytes: 10_000, bytesPerMs: 1, order: 'random' }], 15_000);
  t.ok(Math.abs(hit.size - expected) < 100, `${hit.size} of ${expected}`);
  t.end();
});

void t.test('sets add up', (t) => {
  const sets: WorkingSet[] = [
    { bytes: 1000, bytesPerMs: 10, order: 'in-turn' },
    { bytes: 50, bytesPerMs: 5, order: 'in-turn' },
  ];
  t.equal(writtenBytes(sets, 20), 250);
  t.equal(writeRate(sets), 15);
  t.equal(writtenBytes([], 1e9), 0);
  t.end();
});

void t.test('never more than was written, nor than there is, and never less after longer', (t) => {
  const set = fc.record({
    bytes: fc.integer({ min: 1, max: 2 ** 40 }),
    bytesPerMs: fc.nat(1e9),
    order: fc.constantFrom('in-turn' as const, 'random' as const),
  });
  const time = fc.nat(1e7);
  fc.assert(
    fc.property(set, time, time, (set, a, b) => {
      const [less, more] = a < b ? [a, b] : [b, a];
      const written = writtenBytes([set], more);
      return (
        written <= set.bytes &&
        written <= set.bytesPerMs * more * (1 + 1e-9) &&
        writtenBytes([set], less) <= written
      );
    }),
  );
  t.end();
});
