import type { RoundResult } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes, formatDuration, formatRate } from '../../shared/units.js';
import { formatTable } from './table.js';

const HEADINGS = ['round', 'pages', 'zero', 'copied', 'time', 'link rate', 'dirty rate', 'left'];

/** Rounds, a line each below the headings. Pages are counted where they were sent; all that is memory or a rate is in bytes. */
export function roundTable(rounds: readonly RoundResult[]): string {
  return formatTable(
    HEADINGS.map((heading) => ({ heading, figures: true })),
    rounds.map((round) => [
      String(round.round),
      String(round.pages),
      String(round.zeroPages),
      formatBytes(round.bytes),
      formatDuration(round.ms),
      formatRate(round.bytesPerSecond),
      formatRate(round.dirtyPagesPerSecond * PAGE_SIZE),
      formatBytes(round.residualPages * PAGE_SIZE),
    ]),
  );
}
