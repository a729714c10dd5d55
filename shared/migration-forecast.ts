import type { CopyingReport, MigrationInfo, RoundResult } from './api.js';
import { PAGE_SIZE } from './page.js';
import { AGE_WEIGHT, estimateLinkRate, NEW_MINIMUM, roundsSinceMinimum } from './round-figures.js';
import { counted, formatBytes, formatDuration, formatEstimate } from './units.js';

/** How a migration that copies in rounds will go on. Pure: what it tells of itself in, a forecast out. */

export interface Forecast {
  /**
   * 'measuring': in the first round, after which it shows. 'converging': the residual falls well. 'slow': it falls, or has just stopped to; more time helps. 'stalled': it reached no new
   * minimum over several rounds; more time does not help.
   */
  state: 'measuring' | 'converging' | 'slow' | 'stalled';
  /** Until the guest can be paused, while 'measuring' at the earliest; null where that can't be told, or does not come by itself. ms */
  etaMs: number | null;
  /** Why so, and what comes of it: one line. */
  reason: string;
}

/**
 * Rounds without a new minimum from which on it is called stalled. The engine's own limit (stallRounds, 5 if not given) comes
 * later: it then acts, and who watches is to know before.
 */
const STALL_SIGN_ROUNDS = 3;

/** Rounds that leave more than this share of what they copied are slow. */
const SLOW_SHARE = 0.8;

export function forecast(copying: CopyingReport, progress: MigrationInfo['progress']): Forecast {
  const { rounds, thresholdBytes, limits } = copying;
  const last = rounds.at(-1);
  if (!last || thresholdBytes === null) return forecastOfRound0(progress);
  if (last.residualPages * PAGE_SIZE <= thresholdBytes) {
    return { state: 'converging', etaMs: 0, reason: 'what is left fits the downtime limit' };
  }
  const since = roundsSinceMinimum(rounds);
  if (since >= Math.min(STALL_SIGN_ROUNDS, limits.stallRounds)) return stalled(copying, last, since);
  const share = shareLeft(rounds);
  if (share >= NEW_MINIMUM) {
    const reason = 'the guest writes as fast as the link carries: the rounds leave no less than they copy';
    return { state: 'slow', etaMs: null, reason };
  }
  const way = wayToThreshold(copying, thresholdBytes, last, share, progress);
  const falls = `a round leaves ${Math.round(100 * share)} % of what it copies`;
  if ('limit' in way) {
    const reason = `${falls}; the limit of ${way.limit} comes before that is little enough: ${atLimit(limits)}`;
    return { state: 'slow', etaMs: null, reason };
  }
  const state = since > 0 || share > SLOW_SHARE ? 'slow' : 'converging';
  return { state, etaMs: way.ms, reason: `${falls}: about ${counted(way.rounds, 'round')} to go` };
}

/** When the switchover comes, in words; '' where that can't be told. */
export function etaText({ state, etaMs }: Forecast): string {
  if (etaMs === null) return '';
  const earliest = state === 'measuring' ? ' at the earliest' : '';
  return `switchover${earliest} in ${etaMs < 1000 ? '' : 'about '}${formatEstimate(etaMs)}`;
}

/** Of what comes after it nothing is known yet: it takes that long at least. */
function forecastOfRound0(progress: MigrationInfo['progress']): Forecast {
  const reason = 'the first round copies all memory in use; how fast the guest writes shows after it';
  if (!progress || progress.bytesPerSecond === 0) return { state: 'measuring', etaMs: null, reason };
  return { state: 'measuring', etaMs: msLeft(progress), reason };
}

function stalled({ rounds, limits }: CopyingReport, last: RoundResult, since: number): Forecast {
  const left = last.residualPages * PAGE_SIZE;
  const more = Math.max(0, limits.stallRounds - since);
  const linkRate = estimateLinkRate(rounds);
  const downtimeMs = left / linkRate;
  const downtime =
    limits.onLimit === 'switch-over' && linkRate > 0
      ? `, for about ${downtimeMs < 1000 ? formatDuration(downtimeMs) : formatEstimate(downtimeMs)} of downtime`
      : '';
  const reason =
    `no new minimum of the residual for ${since} rounds, ${formatBytes(left)} left; ` +
    `after ${more} more ${atLimit(limits)}${downtime}`;
  return { state: 'stalled', etaMs: null, reason };
}

function atLimit({ onLimit }: CopyingReport['limits']): string {
  return onLimit === 'cancel' ? 'it is cancelled' : 'it switches over all the same';
}

/**
 * Share of the pages of a round that the guest writes meanwhile, weighted towards the latest rounds. Round 0 copies what the
 * guest never writes, too: it counts as long as there is no other.
 */
function shareLeft(rounds: readonly RoundResult[]): number {
  const later = rounds.filter(({ round }) => round > 0);
  let left = 0;
  let copied = 0;
  for (const { residualPages, pages } of later.length > 0 ? later : rounds) {
    left = left * AGE_WEIGHT + residualPages;
    copied = copied * AGE_WEIGHT + pages;
  }
  return copied > 0 ? left / copied : 1;
}

/** The round that runs, and those that follow at the same rates, until what is left fits; or the limit that comes before. */
function wayToThreshold(
  { rounds, elapsedMs, limits }: CopyingReport,
  thresholdBytes: number,
  last: RoundResult,
  share: number,
  progress: MigrationInfo['progress'],
): { rounds: number; ms: number } | { limit: string } {
  const linkRate = estimateLinkRate(rounds);
  const running = progress?.round === last.round + 1 && progress.bytesPerSecond > 0 ? progress : null;
  let pages = last.residualPages;
  let ms = running ? msLeft(running) : (pages * PAGE_SIZE) / linkRate;
  for (let more = 1; ; more += 1) {
    pages = Math.floor(pages * share);
    if (elapsedMs + ms >= limits.maxTotalMs) return { limit: formatDuration(limits.maxTotalMs) };
    if (pages * PAGE_SIZE <= thresholdBytes) return { rounds: more, ms };
    if (last.round + 1 + more >= limits.maxRounds) return { limit: `${limits.maxRounds} rounds` };
    ms += (pages * PAGE_SIZE) / linkRate;
  }
}

/** Of the round that runs. Zero pages take less. */
function msLeft({ pagesDone, pagesTotal, bytesPerSecond }: NonNullable<MigrationInfo['progress']>): number {
  return (((pagesTotal - pagesDone) * PAGE_SIZE) / bytesPerSecond) * 1000;
}
