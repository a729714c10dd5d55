import type { ConvergenceReason, MigrationOptions } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { estimateLinkRate, type RoundFigures, roundsSinceMinimum } from '../../shared/round-figures.js';

/**
 * When to stop copying in rounds and pause the guest. Pure: figures of the rounds in, a decision out.
 *
 * A round copies what the guest wrote during the one before, so the residuals shrink by the factor
 * dirty rate / link rate. Below one they fall until the rest fits into the downtime limit. At one or above they
 * stop falling: a stall, which is told apart from slowness by the minimum still moving.
 */

export type ConvergenceOptions = Pick<
  MigrationOptions,
  'maxDowntimeMs' | 'maxRounds' | 'maxTotalMs' | 'stallRounds' | 'onLimit'
>;

export interface Decision {
  readonly next: 'round' | 'switch-over' | 'cancel';
  readonly reason: ConvergenceReason | 'above-threshold';
  /** Largest residual with which the downtime limit can be held. bytes */
  readonly thresholdBytes: number;
}

/**
 * Part of the downtime limit that is not for copying: the pause, saving, loading, a sync of the journal, round trips.
 * Measured on loopback with the embedded guest and a disk that syncs in 1 to 4 ms: 9 to 15 ms, 25 for the first
 * migration of an agent. ms
 */
export const SWITCHOVER_OVERHEAD_MS = 10;

/**
 * What to do after the last of `rounds`, `elapsedMs` after the first began.
 * The order matters: a residual that fits is switched over even where a limit is reached as well.
 */
export function decide(
  rounds: readonly RoundFigures[],
  elapsedMs: number,
  options: ConvergenceOptions,
): Decision {
  const copyMs = Math.max(0, options.maxDowntimeMs - SWITCHOVER_OVERHEAD_MS);
  const thresholdBytes = Math.floor(estimateLinkRate(rounds) * copyMs);
  const residualBytes = (rounds.at(-1)?.residualPages ?? 0) * PAGE_SIZE;
  if (residualBytes <= thresholdBytes) {
    return { next: 'switch-over', reason: 'below-threshold', thresholdBytes };
  }
  const limit = reachedLimit(rounds, elapsedMs, options);
  if (limit === null) return { next: 'round', reason: 'above-threshold', thresholdBytes };
  return { next: options.onLimit, reason: limit, thresholdBytes };
}

function reachedLimit(
  rounds: readonly RoundFigures[],
  elapsedMs: number,
  options: ConvergenceOptions,
): 'stalled' | 'round-limit' | 'time-limit' | null {
  if (rounds.length >= options.maxRounds) return 'round-limit';
  if (elapsedMs >= options.maxTotalMs) return 'time-limit';
  if (roundsSinceMinimum(rounds) >= options.stallRounds) return 'stalled';
  return null;
}
