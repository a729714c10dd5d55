import type { Column } from '../../cli/table.js';
import { median } from '../median.js';
import type { AxisUnit, UnitFor } from './axis-unit.js';
import type { Tone } from './page/plots.js';
import type { Figure, Table } from './section.js';

/** Something that a benchmark measures in every run. */
export interface Measure<Run> {
  readonly name: string;
  /** Null where it is not known. */
  readonly of: (run: Run) => number | null;
  readonly format: (value: number) => string;
  readonly unit: UnitFor;
  /** What a table tells beside the median. */
  readonly tells: readonly ('range' | 'ratio')[];
}

/** Runs of one and the same thing: run n of all rows was made in one turn. */
export interface Row<Run> {
  readonly name: string;
  readonly runs: readonly Run[];
  readonly tone: Tone;
}

/** What stands where there is no figure. */
export const NOTHING = '–';

export function formatKnown(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined || !Number.isFinite(value) ? NOTHING : format(value);
}

export function formatRatio(ratio: number): string {
  return formatKnown(ratio, (known) => known.toFixed(2));
}

/** What is known of each run; shorter than the runs where some don't tell. */
export function known<Run>({ runs }: Row<Run>, { of }: Measure<Run>): number[] {
  return runs.map(of).filter((value) => value !== null);
}

export function rowMedian<Run>(row: Row<Run>, measure: Measure<Run>): number {
  return median(known(row, measure));
}

/** The median of the ratios of all turns, so that what disturbs the machine for a while disturbs both. */
export function ratio<Run>(row: Row<Run>, reference: Row<Run>, { of }: Measure<Run>): number {
  return median(ratios(row, reference, of).filter((each) => each !== null));
}

/** Turn by turn; null where one of the two has no figure. */
export function ratios<Run>(
  row: Row<Run>,
  reference: Row<Run>,
  of: (run: Run) => number | null,
): (number | null)[] {
  return row.runs.map((run, turn) => {
    const other = reference.runs[turn];
    const [value, base] = [of(run), other === undefined ? null : of(other)];
    return value === null || base === null || base === 0 ? null : value / base;
  });
}

/** Those that any of the rows has figures of. */
export function told<Run>(rows: readonly Row<Run>[], measures: readonly Measure<Run>[]): Measure<Run>[] {
  return measures.filter((measure) => rows.some((row) => known(row, measure).length > 0));
}

/**
 * Medians of all measures, one row a line, with the range and the ratio to a reference where the measure tells them. `reference`
 * says which row others are compared with; undefined where there is nothing to compare with.
 */
export function summaryTable<Run>(
  caption: string,
  heading: string,
  rows: readonly Row<Run>[],
  measures: readonly Measure<Run>[],
  reference: (measure: Measure<Run>) => Row<Run> | undefined,
): Table {
  const columns: Column[] = [{ heading }];
  const lines = rows.map(({ name }) => [name]);
  for (const measure of told(rows, measures)) {
    const { name, format, tells } = measure;
    const base = reference(measure);
    columns.push({ heading: name, figures: true });
    rows.forEach((row, line) => lines[line]?.push(formatKnown(rowMedian(row, measure), format)));
    if (tells.includes('range')) {
      columns.push({ heading: 'min to max', figures: true });
      rows.forEach((row, line) => lines[line]?.push(formatRange(known(row, measure), format)));
    }
    if (tells.includes('ratio') && base) {
      columns.push({ heading: 'ratio', figures: true });
      rows.forEach((row, line) => lines[line]?.push(formatRatio(ratio(row, base, measure))));
    }
  }
  return { caption, columns, rows: lines };
}

/** '457 to 544 ms', '980 ms to 1.02 s'. */
export function formatRange(values: readonly number[], format: (value: number) => string): string {
  if (values.length === 0) return NOTHING;
  const [least, most] = [format(Math.min(...values)), format(Math.max(...values))];
  const [amount, unit] = least.split(' ', 2);
  return `${unit !== undefined && most.endsWith(` ${unit}`) ? amount : least} to ${most}`;
}

/** A bar for each row, as long as its median, with a dot for each run. */
export function barFigure<Run>(
  heading: string,
  rows: readonly Row<Run>[],
  { name, of, format, unit }: Measure<Run>,
): Figure {
  const bars = rows.map((row) => {
    const values = row.runs.map(of);
    return { row, values, middle: median(values.filter((value) => value !== null)) };
  });
  const axis = unit(Math.max(0, ...bars.flatMap(({ values }) => values.map((value) => value ?? 0))));
  return {
    heading,
    plot: {
      kind: 'bars',
      axis: axisTitle(name, axis),
      bars: bars.map(({ row, values, middle }) => ({
        label: [row.name, formatKnown(middle, format)],
        value: Number.isFinite(middle) ? middle / axis.size : null,
        runs: values.map((value) => (value === null ? null : value / axis.size)),
        tone: row.tone,
      })),
    },
    table: runTable(
      heading,
      '',
      bars.map(({ row, values, middle }) => ({ name: row.name, values: [middle, ...values] })),
      format,
    ),
  };
}

/** The median and each run. */
export function runTable(
  caption: string,
  heading: string,
  rows: readonly { readonly name: string; readonly values: readonly (number | null)[] }[],
  format: (value: number) => string,
): Table {
  const runs = Math.max(0, ...rows.map(({ values }) => values.length - 1));
  return {
    caption: `${caption}: every run`,
    columns: [
      { heading },
      { heading: 'median', figures: true },
      ...Array.from({ length: runs }, (_, run) => ({ heading: `run ${run + 1}`, figures: true })),
    ],
    rows: rows.map(({ name, values }) => [
      name,
      ...Array.from({ length: runs + 1 }, (_, column) => formatKnown(values[column], format)),
    ]),
  };
}

export function axisTitle(name: string, { name: unit }: AxisUnit): string {
  return unit === '' ? name : `${name}, ${unit}`;
}
