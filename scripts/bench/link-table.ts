import { formatRate } from '../../shared/units.js';
import { formatTable } from '../cli/table.js';
import type { LinkSeries } from './bench-report.js';
import { median } from './median.js';

/** Whom the others are compared with. */
const IPERF3 = /^iperf3/;

/** Median of the ratios of runs made in one turn, so that what disturbs the machine disturbs both. */
export function turnRatio(runs: readonly number[], others: readonly number[]): number {
  return median(runs.map((rate, turn) => rate / (others[turn] ?? NaN)));
}

/** Medians of all series, with what lies between their runs, their ratio to each iperf3 on the same link, and their share of its cap. */
export function linkTable(series: readonly LinkSeries[]): string {
  const references = [...new Set(series.map(({ name }) => name))].filter((name) => IPERF3.test(name));
  const figures = true;
  const capped = series.some(({ linkBytesPerSecond }) => linkBytesPerSecond !== null);
  return formatTable(
    [
      { heading: 'link' },
      { heading: 'by' },
      { heading: 'rate', figures },
      { heading: '' },
      ...references.map((name) => ({ heading: `to ${name}`, figures })),
      ...(capped ? [{ heading: 'of the cap', figures }] : []),
    ],
    series.map(({ name, linkBytesPerSecond: cap, runs }) => [
      cap === null ? 'no cap' : formatRate(cap),
      name,
      formatRate(median(runs)),
      `(${formatRate(Math.min(...runs))} to ${formatRate(Math.max(...runs))})`,
      ...references.map((reference) => {
        const others = series.find((each) => each.name === reference && each.linkBytesPerSecond === cap);
        return others ? turnRatio(runs, others.runs).toFixed(2) : '';
      }),
      ...(capped ? [cap === null ? '' : (median(runs) / cap).toFixed(3)] : []),
    ]),
  );
}
