import fc from 'fast-check';
import t from 'tap';
import type { CopyingReport, RoundResult } from '../../shared/api.js';
import { etaText, forecast } from '../../shared/migration-forecast.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { estimateLinkRate } from '../../shared/round-figures.js';
import { copyingReport, roundsOf } from '../support/api-samples.js';

const MAX_DOWNTIME_MS = 20;

/** Rounds of a link of 1 page/ms in which a round of `pages` leaves `left(pages)`: the sequence until `count` or it fits. */
function rounds(first: number, left: (pages: number) => number, count: number): RoundResult[] {
  const sizes = [first];
  while (sizes.length <= count) sizes.push(left(sizes.at(-1)!));
  return roundsOf(...sizes);
}

const after = (done: RoundResult[], changes: Partial<CopyingReport> = {}) =>
  copyingReport(done, {
    thresholdBytes: done.length === 0 ? null : Math.floor(estimateLinkRate(done) * MAX_DOWNTIME_MS),
    ...changes,
  });

await t.test('in round 0 the rest of it is all that is known', (t) => {
  const progress = { round: 0, pagesDone: 250, pagesTotal: 1000, bytesPerSecond: 1000 * PAGE_SIZE };
  t.match(forecast(after([]), progress), { state: 'measuring', etaMs: 750, reason: /first round/ });
  t.match(forecast(after([]), null), { state: 'measuring', etaMs: null });
  t.equal(etaText(forecast(after([]), progress)), 'switchover at the earliest in less than 1 s');
  t.equal(etaText(forecast(after([]), null)), '');
  t.match(forecast(after([]), { ...progress, bytesPerSecond: 0 }), { etaMs: null });
  t.end();
});

await t.test('a residual that falls well: the rounds to come are added up', (t) => {
  // rounds of 500, 250, 125, 62, 31 and then 15 pages fit into 20 ms
  const report = after(rounds(1000, (pages) => pages / 2, 1));
  t.match(forecast(report, null), {
    state: 'converging',
    etaMs: 500 + 250 + 125 + 62 + 31,
    reason: 'a round leaves 50 % of what it copies: about 5 rounds to go',
  });
  const progress = { round: 1, pagesDone: 400, pagesTotal: 500, bytesPerSecond: 1000 * PAGE_SIZE };
  t.match(forecast(report, progress), { etaMs: 100 + 250 + 125 + 62 + 31 }, 'of the one that runs the rest');
  t.match(
    forecast(report, { ...progress, round: 0 }),
    { etaMs: 500 + 250 + 125 + 62 + 31 },
    'progress of a round that has ended does not count',
  );
  t.end();
});

await t.test('a residual that fits is as good as there', (t) => {
  const report = after(rounds(1000, () => 15, 1));
  t.match(forecast(report, null), { state: 'converging', etaMs: 0, reason: /fits the downtime limit/ });
  t.end();
});

await t.test('slow: the minimum still falls, by little', (t) => {
  const slow = forecast(after(rounds(1000, (pages) => Math.floor(pages * 0.9), 4)), null);
  t.match(slow, { state: 'slow', reason: /a round leaves 90 % .*: about \d\d rounds to go/ });
  t.ok(slow.etaMs! > 0);
  const limited = after(
    rounds(1000, (pages) => Math.floor(pages * 0.9), 4),
    { limits: { maxRounds: 10, maxTotalMs: 600_000, stallRounds: 5, onLimit: 'cancel' } },
  );
  t.match(forecast(limited, null), {
    state: 'slow',
    etaMs: null,
    reason: /the limit of 10 rounds comes before .*: it is cancelled/,
  });
  const late = after(
    rounds(1000, (pages) => Math.floor(pages * 0.9), 4),
    { elapsedMs: 599_900 },
  );
  t.match(forecast(late, null), {
    state: 'slow',
    etaMs: null,
    reason: /limit of 10 min 0 s .*switches over/,
  });
  t.end();
});

await t.test('a round or two without a new minimum are no stall yet', (t) => {
  t.match(forecast(after(roundsOf(1000, 300, 305)), null), { state: 'slow' });
  t.match(forecast(after(roundsOf(1000, 300, 305, 310)), null), { state: 'slow', etaMs: null });
  t.end();
});

await t.test('stalled: no new minimum over several rounds, and what comes of it', (t) => {
  const report = after(roundsOf(1000, 300, 305, 300, 305));
  t.same(forecast(report, null), {
    state: 'stalled',
    etaMs: null,
    reason:
      'no new minimum of the residual for 3 rounds, 1.2 MiB left; ' +
      'after 2 more it switches over all the same, for about 305 ms of downtime',
  });
  const { limits } = report;
  t.match(forecast({ ...report, limits: { ...limits, onLimit: 'cancel' } }, null), {
    reason: /after 2 more it is cancelled$/,
  });
  t.match(
    forecast(after(roundsOf(1000, 300, 305), { limits: { ...limits, stallRounds: 1 } }), null),
    { state: 'stalled' },
    'a limit that is lower counts',
  );
  t.end();
});

await t.test('whatever the rounds: a time or none, never a wrong one', (t) => {
  const sizes = fc.array(fc.nat(2 ** 20), { minLength: 1, maxLength: 30 });
  const progress = fc.option(
    fc.record({
      round: fc.nat(30),
      pagesDone: fc.nat(1000),
      pagesTotal: fc.integer({ min: 1000, max: 2000 }),
      bytesPerSecond: fc.oneof(fc.constant(0), fc.double({ min: 1, max: 1e10, noNaN: true })),
    }),
  );
  fc.assert(
    fc.property(sizes, progress, fc.nat(2 ** 32), (pages, seen, thresholdBytes) => {
      const { state, etaMs, reason } = forecast(after(roundsOf(...pages), { thresholdBytes }), seen);
      t.ok(etaMs === null || (Number.isFinite(etaMs) && etaMs >= 0));
      t.ok(state !== 'stalled' || etaMs === null);
      t.notMatch(reason, /NaN|Infinity|undefined/);
    }),
    { numRuns: 300 },
  );
  t.end();
});
