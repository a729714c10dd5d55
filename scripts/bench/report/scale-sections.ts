import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { Move, MoveReport, MoveSeries } from '../bench-report.js';
import { median } from '../median.js';
import { bytesUnit, durationUnit } from './axis-unit.js';
import { groupBy } from './group-by.js';
import { axisTitle, known, rowMedian, runTable, summaryTable, type Measure, type Row } from './measure.js';
import { COPY, DOWNTIME, POPULATED, PROCESSOR, ROUNDS, TOTAL, WIRE } from './move-measures.js';
import { linkName, moveSections } from './move-sections.js';
import type { Figure, Section } from './section.js';

/** A quantity that a benchmark varies. */
interface Quantity {
  readonly name: string;
  readonly of: (series: MoveSeries) => number;
}

const MEMORY: Quantity = { name: 'memory', of: ({ memoryBytes }) => memoryBytes };

const POPULATED_SIZE: Quantity = {
  name: 'populated',
  of: ({ runs }) => median(runs.map(({ populatedBytes }) => populatedBytes)),
};

/** Series that differ in one quantity alone, by that. */
interface Line {
  /** What tells it from the other lines; empty if it is the only one. */
  readonly name: string;
  /** What it has in common with them. */
  readonly shared: readonly string[];
  readonly series: readonly MoveSeries[];
}

/**
 * Cost against size: series of one mover, workload and link that differ in the memory of the guest, and such of one guest that
 * differ in what is populated. A series may be in both.
 */
export function scaleSections(report: MoveReport): Section[] {
  const { series } = report;
  const sections = [
    scaleSection(
      'Against the memory of the guest',
      MEMORY,
      linesOf(series, MEMORY, ({ mover, workload, linkBytesPerSecond }) => [
        mover,
        workload,
        linkName(linkBytesPerSecond),
      ]),
    ),
    scaleSection(
      'Against populated memory',
      POPULATED_SIZE,
      linesOf(series, POPULATED_SIZE, ({ mover, guest, linkBytesPerSecond }) => [
        mover,
        guest,
        linkName(linkBytesPerSecond),
      ]),
    ),
  ].filter((section) => section !== null);
  // Nothing was varied: they are moves like any others.
  return sections.length > 0 ? sections : moveSections(report);
}

function linesOf(
  series: readonly MoveSeries[],
  quantity: Quantity,
  traitsOf: (series: MoveSeries) => readonly string[],
): Line[] {
  const groups = [...groupBy(series, (each) => JSON.stringify(traitsOf(each))).values()].filter(
    (group) => new Set(group.map(quantity.of)).size > 1,
  );
  const traits = groups.map((group) => group.slice(0, 1).flatMap(traitsOf));
  const differs = (trait: number) => new Set(traits.map((each) => each[trait])).size > 1;
  return groups.map((group, line) => ({
    name: (traits[line] ?? []).filter((_, trait) => differs(trait)).join(', '),
    shared: (traits[line] ?? []).filter((_, trait) => !differs(trait)),
    series: group.sort((a, b) => quantity.of(a) - quantity.of(b)),
  }));
}

function scaleSection(heading: string, quantity: Quantity, lines: readonly Line[]): Section | null {
  if (lines.length === 0) return null;
  const tables = lines.map(({ series }) => {
    const rows = series.map((each) => rowOf(each, formatBytes(quantity.of(each))));
    return summaryTable(
      '',
      quantity.name,
      rows,
      [TOTAL, COPY, DOWNTIME, WIRE, ...(quantity === MEMORY ? [POPULATED] : []), PROCESSOR, ROUNDS],
      () => rows[0],
    );
  });
  const parts = [
    ...new Set(
      lines.flatMap(({ series }) => series.flatMap(({ runs }) => runs.flatMap((run) => partsOf(run)))),
    ),
  ];
  return {
    heading,
    notes: [
      ...(lines[0] && lines[0].shared.length > 0 ? [`All of it: ${lines[0].shared.join(', ')}.`] : []),
      'Ratios are to the smallest guest of the same series: medians of the ratios of all turns.',
    ],
    table: {
      caption: `Medians of ${Math.max(0, ...lines.flatMap(({ series }) => series.map(({ runs }) => runs.length)))} runs`,
      columns: [...(lines.length > 1 ? [{ heading: 'series' }] : []), ...(tables[0]?.columns ?? [])],
      rows: tables.flatMap(({ rows }, line) =>
        rows.map((row) => [...(lines.length > 1 ? [lines[line]?.name ?? ''] : []), ...row]),
      ),
    },
    figures: [
      lineFigure('Total time', quantity, TOTAL, lines),
      lineFigure('Downtime', quantity, DOWNTIME, lines),
      ...(parts.length === 0 ? [] : [partsFigure(quantity, lines, parts)]),
    ],
  };
}

function partsOf({ downtimeParts }: Move): string[] {
  return Object.keys(downtimeParts);
}

function rowOf({ runs }: MoveSeries, name: string): Row<Move> {
  return { name, runs, tone: 'main' };
}

function lineFigure(
  heading: string,
  quantity: Quantity,
  measure: Measure<Move>,
  lines: readonly Line[],
): Figure {
  const across = bytesUnit(Math.max(0, ...lines.flatMap(({ series }) => series.map(quantity.of))));
  const values = lines.flatMap(({ series }) => series.flatMap((each) => known(rowOf(each, ''), measure)));
  const axis = measure.unit(Math.max(0, ...values));
  return {
    heading,
    plot: {
      kind: 'lines',
      axis: axisTitle(measure.name, axis),
      across: axisTitle(quantity.name, across),
      lines: lines.map(({ name, series }) => ({
        name,
        medians: series.map((each) => ({
          x: quantity.of(each) / across.size,
          y: rowMedian(rowOf(each, ''), measure) / axis.size,
        })),
        runs: series.flatMap((each) =>
          known(rowOf(each, ''), measure).map((value) => ({
            x: quantity.of(each) / across.size,
            y: value / axis.size,
          })),
        ),
      })),
    },
    table: runTable(
      heading,
      quantity.name,
      lines.flatMap(({ name, series }) =>
        series.map((each) => ({
          name: [...(lines.length > 1 ? [name] : []), formatBytes(quantity.of(each))].join(', '),
          values: [rowMedian(rowOf(each, ''), measure), ...each.runs.map(measure.of)],
        })),
      ),
      measure.format,
    ),
  };
}

/** What grows with memory during the downtime, harvest among it: a line for each part, of the first series. */
function partsFigure(quantity: Quantity, lines: readonly Line[], parts: readonly string[]): Figure {
  const series = lines[0]?.series ?? [];
  const heading = `Parts of the downtime${lines.length > 1 ? `: ${lines[0]?.name}` : ''}`;
  const of = (part: string, run: Move) => run.downtimeParts[part] ?? 0;
  const across = bytesUnit(Math.max(0, ...series.map(quantity.of)));
  const axis = durationUnit(
    Math.max(0, ...series.flatMap(({ runs }) => runs.flatMap((run) => Object.values(run.downtimeParts)))),
  );
  return {
    heading,
    plot: {
      kind: 'lines',
      axis: axisTitle('downtime', axis),
      across: axisTitle(quantity.name, across),
      lines: parts.map((part) => ({
        name: part,
        medians: series.map((each) => ({
          x: quantity.of(each) / across.size,
          y: median(each.runs.map((run) => of(part, run))) / axis.size,
        })),
        runs: series.flatMap((each) =>
          each.runs.map((run) => ({ x: quantity.of(each) / across.size, y: of(part, run) / axis.size })),
        ),
      })),
    },
    table: {
      caption: `${heading}: medians`,
      columns: [{ heading: quantity.name }, ...parts.map((part) => ({ heading: part, figures: true }))],
      rows: series.map((each) => [
        formatBytes(quantity.of(each)),
        ...parts.map((part) => formatDuration(median(each.runs.map((run) => of(part, run))))),
      ]),
    },
  };
}
