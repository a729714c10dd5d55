import { formatBytes, formatDuration } from '../../shared/units.js';
import { formatTable } from '../cli/table.js';
import type { Comparison, Predictions } from './predict.js';

/** How far a prediction may be from what was measured, and what is too little to count. */
export interface Tolerance {
  /** A part of what was measured. */
  readonly share: number;
  /** What a downtime may be off in any case: a busy machine wakes processes up late. ms */
  readonly downtimeMs: number;
}

export interface Checked extends Comparison {
  /** Prediction to measurement, less 1. */
  readonly off: number;
  readonly within: boolean;
}

/** Rounds and failures are counted: one more or less is as near as it gets. */
const COUNTED = new Set<Comparison['figure']>(['rounds', 'not converged']);
const DOWNTIMES = new Set<Comparison['figure']>(['downtime', 'longest downtime']);

export function check({ comparisons }: Predictions, { share, downtimeMs }: Tolerance): Checked[] {
  return comparisons.map((comparison) => {
    const { figure, predicted, measured } = comparison;
    const least = COUNTED.has(figure) ? 1 : DOWNTIMES.has(figure) ? downtimeMs : 0;
    const off = measured === 0 ? (predicted === 0 ? 0 : Infinity) : predicted / measured - 1;
    const within = Math.abs(predicted - measured) <= Math.max(share * measured, least);
    return { ...comparison, off, within };
  });
}

export function checkText(checked: readonly Checked[], { leftOut }: Predictions): string {
  const table = formatTable(
    [
      { heading: 'series' },
      { heading: 'figure' },
      { heading: 'predicted', figures: true },
      { heading: 'measured', figures: true },
      { heading: 'off', figures: true },
      { heading: '' },
    ],
    checked.map(({ series, figure, predicted, measured, off, within }) => [
      series,
      figure,
      figureText(figure, predicted),
      figureText(figure, measured),
      Number.isFinite(off) ? `${(100 * off).toFixed(1)} %` : '',
      within ? '' : 'too far off',
    ]),
  );
  return [table, ...leftOut.map(({ series, reason }) => `left out: ${series}: ${reason}`)].join('\n');
}

function figureText(figure: Comparison['figure'], value: number): string {
  if (figure === 'sent') return formatBytes(value);
  return COUNTED.has(figure) ? String(value) : formatDuration(value);
}
