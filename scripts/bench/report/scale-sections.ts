import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { Move, MoveSeries, ScaleReport } from '../bench-report.js';
import { median } from '../median.js';
import { bytesUnit, durationUnit } from './axis-unit.js';
import { crashWarnings } from './crashes.js';
import { harvestSections } from './harvest-section.js';
import { axisTitle, summaryTable, type Row } from './measure.js';
import { COPY, crashed, DOWNTIME, POPULATED, PROCESSOR, ROUNDS, TOTAL, WIRE } from './move-measures.js';
import { linkName, moveSections } from './move-sections.js';
import type { Figure, Section } from './section.js';
import { lineFigure, linesOf, upToMemory, withoutMemory, type Line, type Size } from './size-lines.js';

const MEMORY: Size<MoveSeries> = {
  name: 'memory',
  of: ({ memoryBytes }) => memoryBytes,
  traits: (series) => [
    series.mover,
    withoutMemory(series),
    series.workload,
    linkName(series.linkBytesPerSecond),
  ],
};

const POPULATED_SIZE: Size<MoveSeries> = {
  name: 'populated',
  of: ({ runs }) => median(runs.map(({ populatedBytes }) => populatedBytes)),
  traits: (series) => [
    series.mover,
    upToMemory(series),
    series.workload,
    linkName(series.linkBytesPerSecond),
  ],
};

/**
 * Cost against size: series of one mover, workload and link that differ in the memory of the guest alone, and such that differ
 * in what is populated of it. A series may be in both.
 */
export function scaleSections({ series, harvests }: ScaleReport): Section[] {
  const sections = [
    scaleSection('Moves against the memory of the guest', MEMORY, linesOf(series, MEMORY)),
    scaleSection('Moves against populated memory', POPULATED_SIZE, linesOf(series, POPULATED_SIZE)),
  ].filter((section) => section !== null);
  return [
    // Nothing was varied: they are moves like any others.
    ...(sections.length > 0 ? sections : moveSections(series)),
    ...harvestSections(harvests),
  ];
}

function scaleSection(
  heading: string,
  size: Size<MoveSeries>,
  lines: readonly Line<MoveSeries>[],
): Section | null {
  if (lines.length === 0) return null;
  const points = lines.map(({ name, series }) => ({
    name,
    rows: series.map((each) => rowOf(each, formatBytes(size.of(each)))),
  }));
  const rows = points.flatMap((line) => line.rows);
  const table = summaryTable(
    `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} runs`,
    size.name,
    rows,
    [TOTAL, COPY, DOWNTIME, WIRE, ...(size === MEMORY ? [POPULATED] : []), PROCESSOR, ROUNDS],
    (_, row) => points.find((line) => line.rows.includes(row))?.rows[0],
  );
  const names = points.flatMap((line) => line.rows.map(() => line.name));
  const parts = [
    ...new Set(
      lines.flatMap(({ series }) => series.flatMap(({ runs }) => runs.flatMap((run) => partsOf(run)))),
    ),
  ];
  return {
    heading,
    notes: [
      ...(lines[0] && lines[0].shared.length > 0 ? [`All of it: ${lines[0].shared.join(', ')}.`] : []),
      'Ratios are to the smallest guest of the same series: medians of the ratios run by run.',
    ],
    warnings: crashWarnings(
      rows.map((row, index) => ({ ...row, name: [names[index], row.name].filter(Boolean).join(', ') })),
    ),
    table:
      lines.length === 1
        ? table
        : {
            ...table,
            columns: [{ heading: 'series' }, ...table.columns],
            rows: table.rows.map((cells, index) => [names[index] ?? '', ...cells]),
          },
    figures: [
      lineFigure('Total time', size, TOTAL, lines, rowOf),
      lineFigure('Downtime', size, DOWNTIME, lines, rowOf),
      ...(parts.length === 0 ? [] : [partsFigure(size, lines, parts)]),
    ],
  };
}

function partsOf({ downtimeParts }: Move): string[] {
  return Object.keys(downtimeParts);
}

function rowOf({ runs }: MoveSeries, name: string): Row<Move> {
  return { name, runs, crashed, tone: 'main' };
}

/** What grows with memory during the downtime, harvest among it: a line for each part, of the first series. */
function partsFigure(
  size: Size<MoveSeries>,
  lines: readonly Line<MoveSeries>[],
  parts: readonly string[],
): Figure {
  const series = lines[0]?.series ?? [];
  const heading = `Parts of the downtime${lines.length > 1 ? `: ${lines[0]?.name}` : ''}`;
  const of = (part: string, run: Move) => run.downtimeParts[part] ?? 0;
  const across = bytesUnit(Math.max(0, ...series.map(size.of)));
  const axis = durationUnit(
    Math.max(0, ...series.flatMap(({ runs }) => runs.flatMap((run) => Object.values(run.downtimeParts)))),
  );
  return {
    heading,
    plot: {
      kind: 'lines',
      axis: axisTitle('downtime', axis),
      across: axisTitle(size.name, across),
      cross: '',
      lines: parts.map((part) => ({
        name: part,
        medians: series.map((each) => ({
          x: size.of(each) / across.size,
          y: median(each.runs.map((run) => of(part, run))) / axis.size,
        })),
        runs: series.flatMap((each) =>
          each.runs.map((run) => ({ x: size.of(each) / across.size, y: of(part, run) / axis.size })),
        ),
        crosses: [],
      })),
    },
    table: {
      caption: `${heading}: medians`,
      columns: [{ heading: size.name }, ...parts.map((part) => ({ heading: part, figures: true }))],
      rows: series.map((each) => [
        formatBytes(size.of(each)),
        ...parts.map((part) => formatDuration(median(each.runs.map((run) => of(part, run))))),
      ]),
    },
  };
}
