import { formatBytes } from '../../shared/units.js';
import { formatTable } from '../cli/table.js';
import type { ConcurrentRun, ConcurrentSeries } from './bench-report.js';
import { median } from './median.js';
import { spreadOf, spreadText } from './spread.js';

const figures = true;

/** Medians, and below them how those at once stand to those one after the other. */
export function concurrentTable(series: readonly ConcurrentSeries[]): string {
  const table = formatTable(
    [
      ...[{ heading: 'guests', figures }, { heading: 'workload' }, { heading: 'moved' }],
      ...[
        { heading: 'total ms', figures },
        { heading: 'sent', figures },
      ],
      ...[
        { heading: 'downtimes ms, sum', figures },
        { heading: 'longest', figures },
      ],
      { heading: 'not converged', figures },
    ],
    series.map(({ guests, workload, order, runs }) => [
      String(guests),
      workload,
      order,
      spreadText(spreadOf(runs.map(({ totalMs }) => totalMs))),
      formatBytes(median(runs.map(({ wireBytes }) => wireBytes))),
      spreadText(spreadOf(runs.map(sumOfDowntimes))),
      spreadText(spreadOf(runs.map(longestDowntime))),
      `${runs.reduce((sum, run) => sum + run.convergenceFailures, 0)} of ${guests * runs.length}`,
    ]),
  );
  return [table, '', ...ratioLines(series)].join('\n');
}

function ratioLines(series: readonly ConcurrentSeries[]): string[] {
  return series.flatMap((sequential) => {
    if (sequential.order !== 'sequential') return [];
    const { guests, workload } = sequential;
    const atOnce = series.find(
      (each) => each.order === 'at once' && each.guests === guests && each.workload === workload,
    );
    if (!atOnce) return [];
    const ratio = (figure: (run: ConcurrentRun) => number) =>
      (median(atOnce.runs.map(figure)) / median(sequential.runs.map(figure))).toFixed(2);
    return [
      `${guests} guests at once to one after the other: total ${ratio(({ totalMs }) => totalMs)}, ` +
        `sent ${ratio(({ wireBytes }) => wireBytes)}, sum of downtimes ${ratio(sumOfDowntimes)}, ` +
        `longest ${ratio(longestDowntime)}`,
    ];
  });
}

export function sumOfDowntimes({ downtimesMs }: ConcurrentRun): number {
  return downtimesMs.reduce((sum, ms) => sum + ms, 0);
}

export function longestDowntime({ downtimesMs }: ConcurrentRun): number {
  return Math.max(...downtimesMs);
}
