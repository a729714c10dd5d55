import type { MigrationInfo } from '../../shared/api.js';
import { etaText, type Forecast } from '../../shared/migration-forecast.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes, formatDuration, formatRate } from '../../shared/units.js';
import { queueLine } from './migration-progress.js';

/** A migration that runs or waits, in a line each. */

/** Where it stands: its phase, its round, its place in the queue. */
export function stateLine({ phase, progress, copying, queue, role, to }: MigrationInfo): string {
  if (phase === 'queued') return queue === null ? 'queued' : queueLine(queue);
  const side = role === 'target' && phase !== 'ended' ? `, arriving at ${to}` : '';
  const round = roundThatRuns({ progress, copying });
  if (phase !== 'copying' || round === null) return `${phase}${side}`;
  return `copying round ${round}, for ${formatDuration(copying?.elapsedMs ?? 0)}`;
}

/** The round that runs: progress may still be that of the one before. Null if none was begun. */
export function roundThatRuns({
  progress,
  copying,
}: Pick<MigrationInfo, 'progress' | 'copying'>): number | null {
  const last = copying?.rounds.at(-1);
  if (last) return Math.max(last.round + 1, progress?.round ?? 0);
  return copying || progress ? (progress?.round ?? 0) : null;
}

/** What the last round left, and the rates, as far as they are known. */
export function ratesLine({ progress, copying }: MigrationInfo): string {
  const last = copying?.rounds.at(-1);
  const linkRate = progress?.bytesPerSecond ?? last?.bytesPerSecond;
  const parts = [
    ...(last ? [`left ${formatBytes(last.residualPages * PAGE_SIZE)}`] : []),
    ...(typeof copying?.thresholdBytes === 'number' ? [`fits ${formatBytes(copying.thresholdBytes)}`] : []),
    ...(linkRate === undefined ? [] : [`link ${formatRate(linkRate)}`]),
    ...(last ? [`dirty ${formatRate(last.dirtyPagesPerSecond * PAGE_SIZE)}`] : []),
  ];
  return parts.join('   ');
}

export function forecastLine(ahead: Forecast): string {
  const eta = etaText(ahead);
  return `${ahead.state}${eta === '' ? '' : `, ${eta}`}: ${ahead.reason}`;
}
