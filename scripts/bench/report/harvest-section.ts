import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { HarvestSeries } from '../bench-report.js';
import { median } from '../median.js';
import { durationUnit } from './axis-unit.js';
import { barFigure, formatKnown, summaryTable, type Measure, type Row } from './measure.js';
import type { Section } from './section.js';
import { lineFigure, linesOf, upToMemory, withoutMemory, type Size } from './size-lines.js';

/** Guests that hardly use anything are harvested in less than a millisecond. */
function formatShort(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : formatDuration(ms);
}

const HARVEST: Measure<number> = {
  name: 'harvest',
  of: (ms) => ms,
  format: formatShort,
  unit: durationUnit,
  tells: ['range'],
};

const SIZES: readonly (readonly [string, Size<HarvestSeries>])[] = [
  [
    'Against the memory of the guest',
    {
      name: 'memory',
      of: ({ memoryBytes }) => memoryBytes,
      traits: (series) => [withoutMemory(series), series.writeLog],
    },
  ],
  [
    'Against populated memory',
    {
      name: 'populated',
      of: ({ populatedBytes }) => populatedBytes,
      traits: (series) => [upToMemory(series), series.writeLog],
    },
  ],
];

/** What it costs to ask the write-log of a guest that rests; none if none was asked. */
export function harvestSections(harvests: readonly HarvestSeries[]): Section[] {
  if (harvests.length === 0) return [];
  const rows = harvests.map((series) => rowOf(series, series.guest));
  const table = summaryTable(
    `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} harvests`,
    'guest',
    rows,
    [HARVEST],
    () => undefined,
  );
  const figures = SIZES.flatMap(([heading, size]) => {
    const lines = linesOf(harvests, size);
    return lines.length === 0 ? [] : [lineFigure(heading, size, HARVEST, lines, rowOf)];
  });
  return [
    {
      heading: 'Harvest of the write-log',
      notes: ['How long it takes to ask the write-log which pages were written, while the guest rests.'],
      table: {
        ...table,
        columns: [
          ...table.columns,
          { heading: 'a GiB of memory', figures: true },
          { heading: 'populated', figures: true },
          { heading: 'a GiB populated', figures: true },
          { heading: 'write-log' },
        ],
        rows: harvests.map((series, line) => [
          ...(table.rows[line] ?? []),
          share(series, series.memoryBytes),
          formatBytes(series.populatedBytes),
          share(series, series.populatedBytes),
          series.writeLog,
        ]),
      },
      figures: figures.length > 0 ? figures : [barFigure('Harvest', rows, HARVEST)],
    },
  ];
}

function rowOf({ runs }: HarvestSeries, name: string): Row<number> {
  return { name, runs, tone: 'main' };
}

/** The median harvest, a GiB of these bytes. */
function share({ runs }: HarvestSeries, bytes: number): string {
  return formatKnown((median(runs) * 2 ** 30) / bytes, formatShort);
}
