import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { ConcurrentReport, ConcurrentRun, ConcurrentSeries } from '../bench-report.js';
import { bytesUnit, durationUnit } from './axis-unit.js';
import { groupBy } from './group-by.js';
import { barFigure, summaryTable, type Measure, type Row } from './measure.js';
import type { Figure, Section } from './section.js';

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

const PLOTTED: readonly (readonly [Measure<ConcurrentRun>, string])[] = [
  [TOTAL, 'Total time'],
  [WIRE, 'Bytes on the wire'],
  [DOWNTIME_SUM, 'Sum of the downtimes'],
  [DOWNTIME_MAX, 'Longest downtime'],
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
    const table = summaryTable(
      `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} runs; all runs together: migrations that did not converge`,
      'order',
      rows,
      [TOTAL, WIRE, DOWNTIME_SUM, DOWNTIME_MAX],
      () => sequential,
    );
    return {
      heading,
      notes: [
        'Total: from the first request until the last guest runs on the target. Ratios are to sequential: medians of the ratios of all turns.',
      ],
      table: {
        ...table,
        columns: [...table.columns, { heading: 'not converged', figures: true }],
        rows: table.rows.map((cells, row) => [...cells, failures(group[row]).text]),
      },
      figures: [
        ...PLOTTED.map(([measure, title]) => barFigure(title, rows, measure)),
        failureFigure(group, rows),
      ],
    };
  });
}

/** Of all runs together: a run alone has too few migrations to tell. */
function failures(series: ConcurrentSeries | undefined): { percent: number; text: string } {
  const runs = series?.runs ?? [];
  const failed = runs.reduce((sum, { convergenceFailures }) => sum + convergenceFailures, 0);
  const migrations = runs.reduce((sum, { downtimesMs }) => sum + downtimesMs.length, 0);
  return {
    percent: migrations === 0 ? 0 : (100 * failed) / migrations,
    text: `${failed} of ${migrations}`,
  };
}

function failureFigure(group: readonly ConcurrentSeries[], rows: readonly Row<ConcurrentRun>[]): Figure {
  const heading = 'Migrations that did not converge';
  const runs = Math.max(0, ...rows.map((row) => row.runs.length));
  return {
    heading,
    plot: {
      kind: 'bars',
      axis: 'not converged, % of all migrations',
      cross: '',
      bars: rows.map(({ name, tone }, row) => {
        const { percent, text } = failures(group[row]);
        return { label: [name, text], value: percent, runs: [], crosses: [], tone };
      }),
    },
    table: {
      caption: heading,
      columns: [
        { heading: '' },
        { heading: 'all', figures: true },
        ...Array.from({ length: runs }, (_, run) => ({ heading: `run ${run + 1}`, figures: true })),
      ],
      rows: rows.map((row, index) => [
        row.name,
        failures(group[index]).text,
        ...row.runs.map(({ convergenceFailures }) => String(convergenceFailures)),
      ]),
    },
  };
}
