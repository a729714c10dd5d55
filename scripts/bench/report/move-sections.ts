import type { Move, MoveSeries } from '../bench-report.js';
import { crashWarnings } from './crashes.js';
import { groupBy } from './group-by.js';
import { barFigure, NOTHING, rowMedian, summaryTable, told, type Measure, type Row } from './measure.js';
import {
  COPY,
  crashed,
  DOWNTIME,
  isBeside,
  isOurs,
  POPULATED,
  PROCESSOR,
  ROUNDS,
  toLeastTime,
  TOTAL,
  WIRE,
  WORK,
} from './move-measures.js';
import type { Section, Table } from './section.js';

const PLOTTED: readonly (readonly [Measure<Move>, string])[] = [
  [TOTAL, 'Total time'],
  [DOWNTIME, 'Downtime'],
  [WORK, 'Work rate of the guest'],
  [WIRE, 'Bytes on the wire'],
  [PROCESSOR, 'Processor time, source and target'],
];

/**
 * Moves of guests. Several movers: a section for each guest, workload and link, in which the movers stand beside each other. One
 * mover: a section for each guest and link, in which the workloads do.
 */
export function moveSections(series: readonly MoveSeries[]): Section[] {
  const compares = new Set(series.map(({ mover }) => mover)).size > 1;
  const shared = ({ mover, guest, workload, linkBytesPerSecond }: MoveSeries) =>
    [guest, compares ? workload : mover, linkName(linkBytesPerSecond)].join(', ');
  return [...groupBy(series, shared)].map(([heading, group]) => moveSection(heading, group, compares));
}

function moveSection(heading: string, group: readonly MoveSeries[], compares: boolean): Section {
  const rows = group.map(({ mover, workload, runs }): Row<Move> => ({
    name: compares ? mover : workload,
    runs,
    crashed,
    tone: isOurs(mover) ? 'main' : 'other',
  }));
  const cap = group[0]?.linkBytesPerSecond ?? null;
  const measures = [
    TOTAL,
    ...(cap === null ? [] : [compares ? toLeastTime(cap, () => leastPopulated(rows)) : toLeastTime(cap)]),
    COPY,
    DOWNTIME,
    WORK,
    WIRE,
    POPULATED,
    PROCESSOR,
    ROUNDS,
  ];
  const notes = [];
  if (compares) {
    notes.push(
      'Ratios are to the best of the other movers in each figure, whose own ratio is 1.00: medians of the ratios of all turns.',
    );
  }
  if (cap !== null) {
    // A guest that vmferry has moved has holes where its pages are zero: the same guest has less populated then.
    notes.push(
      `Least time: what is populated, once, at the rate of the link${compares ? '; for all movers what the one has that has least' : ''}.`,
    );
  }
  return {
    heading,
    notes,
    warnings: crashWarnings(rows),
    table: withEnds(
      summaryTable(
        `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} runs`,
        compares ? 'mover' : 'workload',
        rows,
        measures,
        (measure) => (compares ? bestOther(rows, measure) : undefined),
      ),
      rows,
    ),
    figures: PLOTTED.filter(([measure]) => told(rows, [measure]).length > 0).map(([measure, title]) =>
      barFigure(title, rows, measure),
    ),
  };
}

function leastPopulated(rows: readonly Row<Move>[]): number {
  return Math.min(...rows.map((row) => rowMedian(row, POPULATED)).filter(Number.isFinite));
}

/** A table of rows, and why the rounds of each ended: at a limit any downtime is allowed. */
function withEnds(table: Table, rows: readonly Row<Move>[]): Table {
  const ends = ({ runs }: Row<Move>) =>
    [...new Set(runs.map(({ convergence }) => convergence))].filter(Boolean);
  return {
    ...table,
    columns: [...table.columns, { heading: 'rounds ended' }],
    rows: rows.map((row, line) => [...(table.rows[line] ?? []), ends(row).join(', ') || NOTHING]),
  };
}

/** Of those that are not vmferry and move the same guest; more is better of the work kept alone. */
function bestOther(rows: readonly Row<Move>[], measure: Measure<Move>): Row<Move> | undefined {
  const sign = measure === WORK ? -1 : 1;
  return rows
    .filter(({ name }) => !isOurs(name) && !isBeside(name))
    .map((row) => ({ row, value: sign * rowMedian(row, measure) }))
    .filter(({ value }) => Number.isFinite(value))
    .sort((a, b) => a.value - b.value)[0]?.row;
}

/** '1 Gbit/s', as links are rated. */
export function linkName(bytesPerSecond: number | null): string {
  if (bytesPerSecond === null) return 'link without a cap';
  const bits = 8 * bytesPerSecond;
  return bits >= 1e9 ? `${round(bits / 1e9)} Gbit/s` : `${round(bits / 1e6)} Mbit/s`;
}

function round(value: number): string {
  return String(Number(value.toFixed(2)));
}
