import fc from 'fast-check';
import t from 'tap';
import { type ConvergenceOptions, decide, SWITCHOVER_OVERHEAD_MS } from '../../agent/source/convergence.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { estimateLinkRate, type RoundFigures, roundsSinceMinimum } from '../../shared/round-figures.js';
import { CONVERGENCE } from '../support/convergence-options.js';

/** A round of 1 MB/ms that left `residualPages`. */
const round = (residualPages: number, wireBytes = 1e8, ms = 100): RoundFigures => ({
  residualPages,
  wireBytes,
  ms,
});
const residuals = (...pages: number[]) => pages.map((residualPages) => round(residualPages));

const figures = fc.record({
  wireBytes: fc.integer({ min: 0, max: 2 ** 40 }),
  ms: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
  residualPages: fc.integer({ min: 0, max: 2 ** 26 }),
});
const someRounds = fc.array(figures, { minLength: 1, maxLength: 30 });
const anyOptions: fc.Arbitrary<ConvergenceOptions> = fc.record({
  maxDowntimeMs: fc.double({ min: 0, max: 3_600_000, noNaN: true }),
  maxRounds: fc.integer({ min: 1, max: 40 }),
  maxTotalMs: fc.integer({ min: 1, max: 1000 }),
  stallRounds: fc.integer({ min: 1, max: 20 }),
  onLimit: fc.constantFrom('switch-over', 'cancel'),
});

void t.test('link rate', (t) => {
  t.equal(estimateLinkRate([]), 0, 'nothing sent yet');
  t.equal(estimateLinkRate([round(0, 500, 10)]), 50);
  t.equal(estimateLinkRate([round(0, 0, 0)]), 0, 'no time has passed');
  t.equal(estimateLinkRate([round(0, 1000, 10), round(0, 500, 10)]), (1000 / 2 + 500) / (10 / 2 + 10));
  const tinyLast = estimateLinkRate([round(0, 1e9, 1000), round(0, 4096, 1)]);
  t.ok(tinyLast > 0.99e6, 'a round that is all latency does not spoil it');
  const slower = Array.from({ length: 10 }, (_, i) => round(0, i === 0 ? 1e9 : 1e8, 1000));
  t.ok(estimateLinkRate(slower) < 1.02e5, 'a link that has become slower is seen to be');
  fc.assert(
    fc.property(someRounds, (rounds) => {
      const rates = rounds.map(({ wireBytes, ms }) => wireBytes / ms);
      const rate = estimateLinkRate(rounds);
      return rate >= Math.min(...rates) * 0.999 && rate <= Math.max(...rates) * 1.001;
    }),
  );
  t.end();
});

void t.test('threshold', (t) => {
  const thresholdOf = (maxDowntimeMs: number, rounds = residuals(1e6)) =>
    decide(rounds, 0, { ...CONVERGENCE, maxDowntimeMs }).thresholdBytes;
  t.equal(thresholdOf(30), 1e6 * (30 - SWITCHOVER_OVERHEAD_MS));
  t.equal(thresholdOf(SWITCHOVER_OVERHEAD_MS), 0);
  t.equal(thresholdOf(0), 0, 'never negative');
  const fits = Math.floor((1e6 * (30 - SWITCHOVER_OVERHEAD_MS)) / PAGE_SIZE);
  t.equal(decide(residuals(fits), 0, CONVERGENCE).next, 'switch-over');
  t.equal(decide(residuals(fits + 1), 0, CONVERGENCE).next, 'round');
  fc.assert(
    fc.property(someRounds, fc.nat(1000), fc.nat(1000), (rounds, a, b) => {
      const [less, more] = [Math.min(a, b), Math.max(a, b)];
      return thresholdOf(less, rounds) <= thresholdOf(more, rounds);
    }),
  );
  t.end();
});

void t.test('a stall is told apart from slowness', (t) => {
  const since = (...pages: number[]) => roundsSinceMinimum(residuals(...pages));
  t.equal(since(), 0);
  t.equal(since(100), 0);
  t.equal(since(100, 90, 80), 0, 'falling');
  t.equal(since(100, 100, 100), 2, 'standing');
  t.equal(since(100, 120, 130), 2, 'rising');
  t.equal(since(100, 120, 90, 95), 1, 'a new minimum starts over');
  t.equal(since(10_000, 9_950, 9_901), 2, 'noise is no new minimum');
  t.equal(since(10_000, 9_950, 9_899), 0, 'but slow progress adds up to one');
  t.equal(since(0, 0), 1);

  const slow = Array.from({ length: 60 }, (_, i) => round(Math.floor(1e6 * 0.97 ** i)));
  t.equal(decide(slow, 0, CONVERGENCE).next, 'round', 'slow, and getting there');
  const stalled = residuals(1e6, 1e5, 1e5, 1e5, 1e5, 1e5);
  t.equal(decide(stalled, 0, CONVERGENCE).next, 'round', 'four rounds without a new minimum');
  t.match(decide([...stalled, round(1e5)], 0, CONVERGENCE), { next: 'switch-over', reason: 'stalled' });
  fc.assert(
    fc.property(someRounds, (rounds) => {
      const before = roundsSinceMinimum(rounds.slice(0, -1));
      const after = roundsSinceMinimum(rounds);
      return rounds.length === 1 ? after === 0 : after === 0 || after === before + 1;
    }),
  );
  t.end();
});

void t.test('limits, in their order', (t) => {
  const far = residuals(1e6, 1e6, 1e6);
  const all = { ...CONVERGENCE, maxRounds: 3, maxTotalMs: 100, stallRounds: 2 };
  t.equal(decide(far, 0, CONVERGENCE).reason, 'above-threshold');
  t.equal(decide(far, 100, all).reason, 'round-limit');
  t.equal(decide(far, 100, { ...all, maxRounds: 4 }).reason, 'time-limit');
  t.equal(decide(far, 99, { ...all, maxRounds: 4 }).reason, 'stalled');
  t.equal(decide(far, 99, { ...all, maxRounds: 4, stallRounds: 3 }).reason, 'above-threshold');
  t.match(decide(residuals(1e6, 1e6, 0), 100, all), { next: 'switch-over', reason: 'below-threshold' });
  for (const onLimit of ['switch-over', 'cancel'] as const) {
    t.equal(decide(far, 100, { ...all, onLimit }).next, onLimit);
    t.equal(
      decide(residuals(0), 100, { ...all, onLimit }).next,
      'switch-over',
      'what fits is never cancelled',
    );
  }
  t.end();
});

void t.test('a guest that stands still is switched over after round 0, whatever the link', (t) => {
  t.match(decide([round(0, 0, 0)], 0, { ...CONVERGENCE, maxDowntimeMs: 0 }), {
    next: 'switch-over',
    reason: 'below-threshold',
    thresholdBytes: 0,
  });
  t.end();
});

void t.test('whatever the figures', (t) => {
  fc.assert(
    fc.property(someRounds, fc.nat(2000), anyOptions, (rounds, elapsedMs, options) => {
      const { next, reason, thresholdBytes } = decide(rounds, elapsedMs, options);
      const residualBytes = rounds.at(-1)!.residualPages * PAGE_SIZE;
      const fits = residualBytes <= thresholdBytes;
      const limited =
        rounds.length >= options.maxRounds ||
        elapsedMs >= options.maxTotalMs ||
        roundsSinceMinimum(rounds) >= options.stallRounds;
      if (!Number.isInteger(thresholdBytes) || thresholdBytes < 0) return false;
      if (fits) return next === 'switch-over' && reason === 'below-threshold';
      if (limited) return next === options.onLimit && reason !== 'below-threshold';
      return next === 'round' && reason === 'above-threshold';
    }),
    { numRuns: 2000 },
  );
  t.end();
});

void t.test('rounds come to an end, whatever the guest writes', (t) => {
  fc.assert(
    fc.property(fc.array(figures, { minLength: 40, maxLength: 40 }), anyOptions, (rounds, options) => {
      const last = rounds.findIndex((_, i) => decide(rounds.slice(0, i + 1), 0, options).next !== 'round');
      return last >= 0 && last < options.maxRounds;
    }),
  );
  t.end();
});
