/** What rounds of copying show of a link and of a guest: the engine decides by it, forecasts tell it. Pure. */

/** What one round showed. */
export interface RoundFigures {
  /** Bytes put on the link. */
  readonly wireBytes: number;
  /** From the first byte until the target acknowledged all of it. ms */
  readonly ms: number;
  /** Pages that the harvest after the round found written. */
  readonly residualPages: number;
}

/** A residual counts as a new minimum below this share of the old one: noise of a page or two is no progress. */
export const NEW_MINIMUM = 0.99;

/** How much less each older round weighs in an estimate. */
export const AGE_WEIGHT = 0.5;

/**
 * Link rate in bytes/ms: bytes over time, both weighted towards the latest rounds. Weighting both sides keeps a
 * round of a few pages, whose time is all latency, from spoiling the estimate. 0 if nothing was sent yet.
 */
export function estimateLinkRate(rounds: readonly RoundFigures[]): number {
  let bytes = 0;
  let ms = 0;
  for (const round of rounds) {
    bytes = bytes * AGE_WEIGHT + round.wireBytes;
    ms = ms * AGE_WEIGHT + round.ms;
  }
  return ms > 0 ? bytes / ms : 0;
}

/** Rounds since the residual last reached a new minimum. */
export function roundsSinceMinimum(rounds: readonly Pick<RoundFigures, 'residualPages'>[]): number {
  let minimum = Infinity;
  let since = 0;
  for (const { residualPages } of rounds) {
    if (residualPages < minimum * NEW_MINIMUM || minimum === Infinity) {
      minimum = residualPages;
      since = 0;
    } else {
      since += 1;
    }
  }
  return since;
}
