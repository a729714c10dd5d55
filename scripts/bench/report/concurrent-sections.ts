import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { ConcurrentReport, ConcurrentRun, ConcurrentSeries } from '../bench-report.js';
import { bytesUnit, durationUnit, plainUnit } from './axis-unit.js';
import { groupBy } from './group-by.js';
import { barFigure, summaryTable, type Measure, type Row } from './measure.js';
import type { Section } from './section.js';

const TOTAL: Measure<ConcurrentRun> = {
  name: 'total',
  of: ({ totalMs }) => totalMs,
  format: formatDuration,
  unit: durationUnit,
  tells: ['range', 'ratio'],
};

const WIRE: Measure<ConcurrentRun> = {
  name: 'on the wire',
  of: ({ wireBytes }) => wireBytes,
  format: formatBytes,
  unit: bytesUnit,
  tells: ['ratio'],
};

const DOWNTIME_SUM: Measure<ConcurrentRun> = {
  name: 'downtimes',
  of: ({ downtimesMs }) => downtimesMs.reduce((sum, each) => sum + each, 0),
  format: formatDuration,
  unit: durationUnit,
  tells: ['ratio'],
};

const DOWNTIME_MAX: Measure<ConcurrentRun> = {
  name: 'longest',
  of: ({ downtimesMs }) => (downtimesMs.length === 0 ? null : Math.max(...downtimesMs)),
  format: formatDuration,
  unit: durationUnit,
  tells: ['range', 'ratio'],
};

const FAILURES: Measure<ConcurrentRun> = {
  name: 'not converged',
  of: ({ convergenceFailures }) => convergenceFailures,
  format: (migrations) => String(migrations),
  unit: plainUnit('migrations'),
  tells: [],
};

const PLOTTED: readonly (readonly [Measure<ConcurrentRun>, string])[] = [
  [TOTAL, 'Total time'],
  [WIRE, 'Bytes on the wire'],
  [DOWNTIME_SUM, 'Sum of the downtimes'],
  [DOWNTIME_MAX, 'Longest downtime'],
  [FAILURES, 'Migrations that did not converge'],
];

/** Guests that were moved one after the other, beside the same guests moved all at once. */
export function concurrentSections({ series }: ConcurrentReport): Section[] {
  const shared = ({ guests, workload }: ConcurrentSeries) => `${guests} guests, ${workload}`;
  return [...groupBy(series, shared)].map(([heading, group]) => {
    const rows = group.map(({ order, runs }): Row<ConcurrentRun> => ({
      name: order,
      runs,
      tone: order === 'sequential' ? 'main' : 'mark',
    }));
    const sequential = rows.find((_, index) => group[index]?.order === 'sequential');
    return {
      heading,
      notes: [
        'Total: from the first request until the last guest runs on the target. Ratios are to sequential: medians of the ratios of all turns.',
      ],
      table: summaryTable(
        `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} runs`,
        'order',
        rows,
        [TOTAL, WIRE, DOWNTIME_SUM, DOWNTIME_MAX, FAILURES],
        () => sequential,
      ),
      figures: PLOTTED.map(([measure, title]) => barFigure(title, rows, measure)),
    };
  });
}
