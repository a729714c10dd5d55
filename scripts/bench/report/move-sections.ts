import type { MoveReport, Move, MoveSeries } from '../bench-report.js';
import { groupBy } from './group-by.js';
import { barFigure, rowMedian, summaryTable, told, type Measure, type Row } from './measure.js';
import {
  COPY,
  DOWNTIME,
  isOurs,
  POPULATED,
  PROCESSOR,
  ROUNDS,
  toLeastTime,
  TOTAL,
  WIRE,
  WORK,
} from './move-measures.js';
import type { Section } from './section.js';

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
export function moveSections({ series }: MoveReport): Section[] {
  const compares = new Set(series.map(({ mover }) => mover)).size > 1;
  const shared = ({ mover, guest, workload, linkBytesPerSecond }: MoveSeries) =>
    [guest, compares ? workload : mover, linkName(linkBytesPerSecond)].join(', ');
  return [...groupBy(series, shared)].map(([heading, group]) => moveSection(heading, group, compares));
}

function moveSection(heading: string, group: readonly MoveSeries[], compares: boolean): Section {
  const rows = group.map(({ mover, workload, runs }): Row<Move> => ({
    name: compares ? mover : workload,
    runs,
    tone: isOurs(mover) ? 'main' : 'other',
  }));
  const cap = group[0]?.linkBytesPerSecond ?? null;
  const measures = [
    TOTAL,
    ...(cap === null ? [] : [toLeastTime(cap)]),
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
    notes.push('Least time: what is populated, once, at the rate of the link.');
  }
  return {
    heading,
    notes,
    table: summaryTable(
      `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} runs`,
      compares ? 'mover' : 'workload',
      rows,
      measures,
      (measure) => (compares ? bestOther(rows, measure) : undefined),
    ),
    figures: PLOTTED.filter(([measure]) => told(rows, [measure]).length > 0).map(([measure, title]) =>
      barFigure(title, rows, measure),
    ),
  };
}

/** Of those that are not vmferry; more is better of the work kept alone. */
function bestOther(rows: readonly Row<Move>[], measure: Measure<Move>): Row<Move> | undefined {
  const sign = measure === WORK ? -1 : 1;
  return rows
    .filter(({ name }) => !isOurs(name))
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
