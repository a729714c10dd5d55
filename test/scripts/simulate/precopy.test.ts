import fc from 'fast-check';
import t from 'tap';
import type { WorkingSet } from '../../../scripts/simulate/dirtying.js';
import { type Overheads, precopyAlone } from '../../../scripts/simulate/precopy.js';
import { CONVERGENCE } from '../../support/convergence-options.js';

const MB = 4096 * 250;
const NONE: Overheads = { prepare: 0, round: 0, pause: 0, saving: 0, switchover: 0, release: 0 };
/** A link of 1000 pages in 4 ms and a guest of as many pages as it carries in a second. */
const LINK = MB;
const POPULATED = 1000 * MB;

function written(bytesPerMs: number, bytes = POPULATED): WorkingSet[] {
  return [{ bytes, bytesPerMs, order: 'in-turn' }];
}

void t.test('an idle guest: once, and nothing in the switchover', (t) => {
  t.match(precopyAlone({ populatedBytes: POPULATED, writes: [] }, CONVERGENCE, NONE, LINK), {
    reason: 'below-threshold',
    moved: true,
    rounds: 2,
    wireBytes: POPULATED,
    copyMs: 1000,
    downtimeMs: 0,
  });
  t.end();
});

void t.test('a guest that writes at half of the rate: each round half of the one before', (t) => {
  const result = precopyAlone(
    { populatedBytes: POPULATED, writes: written(LINK / 2) },
    CONVERGENCE,
    NONE,
    LINK,
  );
  // 1000, 500, 250, 125, 62.5, 31.25 ms leave 15.6 ms of pages, which 30 ms less the engine's 10 for all else allow.
  t.equal(result.rounds, 7);
  t.equal(result.wireBytes, POPULATED * (2 - 1 / 64));
  t.equal(result.copyMs, 1000 * (2 - 1 / 64));
  t.equal(result.downtimeMs, 15.625);
  t.end();
});

void t.test('what a migration takes beside copying', (t) => {
  const overheads = { prepare: 100, round: 2, pause: 10, saving: 12, switchover: 11, release: 60 };
  const guest = { populatedBytes: POPULATED, writes: written(LINK / 100, 10 * MB) };
  const result = precopyAlone(guest, CONVERGENCE, overheads, LINK);
  // Round 0: 1002 ms and 10 MB of the set, which fit; while it is paused nothing new is written.
  t.equal(result.copyMs, 1000 + 2 + 10 + 12 + 11);
  t.equal(result.totalMs, 100 + result.copyMs);
  t.equal(result.downtimeMs, 12 + 11, 'the 10 ms of pages are sent while devices are saved');
  const late = precopyAlone({ ...guest, writes: written(LINK / 100) }, CONVERGENCE, overheads, LINK);
  t.equal(
    late.wireBytes,
    POPULATED + (MB * 1012) / 100,
    'what is written until the guest stands still comes along',
  );
  t.end();
});

void t.test('a guest that writes as fast as the link is stalls, and its working set is the downtime', (t) => {
  const guest = { populatedBytes: POPULATED, writes: written(LINK * 3, 200 * MB) };
  const result = precopyAlone(guest, CONVERGENCE, NONE, LINK);
  // The first round leaves the set, the five after it no less.
  t.match(result, { reason: 'stalled', moved: true, rounds: 7, downtimeMs: 200 });
  t.equal(result.wireBytes, POPULATED + 6 * 200 * MB);
  const cancelled = precopyAlone(guest, { ...CONVERGENCE, onLimit: 'cancel' }, NONE, LINK);
  t.match(cancelled, { reason: 'stalled', moved: false, rounds: 6, downtimeMs: 0, copyMs: 2000 });
  t.end();
});

void t.test('at a time limit the round ends where it is, and its rest is in the switchover', (t) => {
  const options = { ...CONVERGENCE, maxTotalMs: 600 };
  const idle = precopyAlone({ populatedBytes: POPULATED, writes: [] }, options, NONE, LINK);
  t.match(idle, { reason: 'time-limit', rounds: 2, wireBytes: POPULATED, downtimeMs: 400 });
  const writing = precopyAlone(
    { populatedBytes: POPULATED, writes: written(LINK / 10) },
    options,
    NONE,
    LINK,
  );
  // 60 MB were written, 4 of 10 of them into pages that had not been sent.
  t.match(writing, { reason: 'time-limit', downtimeMs: 436, wireBytes: POPULATED + 36 * MB });
  t.end();
});

void t.test('all that is populated is sent, at no more than the rate', (t) => {
  const size = fc.integer({ min: 1, max: 2 ** 22 }).map((pages) => pages * 4096);
  const set = fc.record({
    bytes: size,
    bytesPerMs: fc.double({ min: 0, max: 1e7, noNaN: true }),
    order: fc.constantFrom('in-turn' as const, 'random' as const),
  });
  const ms = fc.double({ min: 0, max: 200, noNaN: true });
  const overheads = fc.record({
    prepare: ms,
    round: ms,
    pause: ms,
    saving: ms,
    switchover: ms,
    release: ms,
  });
  fc.assert(
    fc.property(
      size,
      fc.array(set, { maxLength: 3 }),
      overheads,
      fc.double({ min: 100, max: 1e7, noNaN: true }),
      fc.integer({ min: 1, max: 100_000 }),
      (populatedBytes, writes, overheads, rate, maxTotalMs) => {
        const options = { ...CONVERGENCE, maxTotalMs };
        const result = precopyAlone({ populatedBytes, writes }, options, overheads, rate);
        const sets = writes.reduce((sum, { bytes }) => sum + bytes, 0);
        return (
          result.moved &&
          result.wireBytes >= populatedBytes * (1 - 1e-9) &&
          result.wireBytes <= (populatedBytes + (result.rounds - 1) * sets) * (1 + 1e-9) &&
          result.copyMs * rate >= result.wireBytes * (1 - 1e-9) &&
          result.downtimeMs <= result.copyMs &&
          result.rounds <= CONVERGENCE.maxRounds + 1
        );
      },
    ),
  );
  t.end();
});
