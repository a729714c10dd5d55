import type { Column } from '../../cli/table.js';
import { median } from '../median.js';
import type { AxisUnit, UnitFor } from './axis-unit.js';
import { CRASHED, crashCount, crashedRuns, crashLabel } from './crashes.js';
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
  /** Whether the guest crashed after that run, null where it tells nothing of that; absent of what has no guest. */
  readonly crashed?: (run: Run) => boolean | null;
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
 * How often guests crashed and medians of all measures, one row a line, with the range and the ratio to a reference where the
 * measure tells them. `reference` says which row a row is compared with; undefined where there is nothing to compare with.
 */
export function summaryTable<Run>(
  caption: string,
  heading: string,
  rows: readonly Row<Run>[],
  measures: readonly Measure<Run>[],
  reference: (measure: Measure<Run>, row: Row<Run>) => Row<Run> | undefined,
): Table {
  const columns: Column[] = [{ heading }];
  const lines = rows.map(({ name }) => [name]);
  const crashes = rows.map(crashCount);
  if (crashes.some((count) => count !== null)) {
    columns.push({ heading: 'crashed', figures: true });
    crashes.forEach((count, line) => lines[line]?.push(count?.text ?? NOTHING));
  }
  for (const measure of told(rows, measures)) {
    const { name, format, tells } = measure;
    const bases = rows.map((row) => reference(measure, row));
    columns.push({ heading: name, figures: true });
    rows.forEach((row, line) => lines[line]?.push(formatKnown(rowMedian(row, measure), format)));
    if (tells.includes('range')) {
      columns.push({ heading: 'min to max', figures: true });
      rows.forEach((row, line) => lines[line]?.push(formatRange(known(row, measure), format)));
    }
    if (tells.includes('ratio') && bases.some((base) => base !== undefined)) {
      columns.push({ heading: 'ratio', figures: true });
      rows.forEach((row, line) => {
        const base = bases[line];
        lines[line]?.push(base ? formatRatio(ratio(row, base, measure)) : NOTHING);
      });
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

/** A bar for each row, as long as its median, with a dot for each run, or a cross if the guest crashed after it. */
export function barFigure<Run>(heading: string, rows: readonly Row<Run>[], measure: Measure<Run>): Figure {
  const { name, of, format, unit } = measure;
  const bars = rows.map((row) => ({ row, values: row.runs.map(of), middle: rowMedian(row, measure) }));
  const axis = unit(Math.max(0, ...bars.flatMap(({ values }) => values.map((value) => value ?? 0))));
  return {
    heading,
    plot: {
      kind: 'bars',
      axis: axisTitle(name, axis),
      cross: CRASHED,
      bars: bars.map(({ row, values, middle }) => ({
        label: [row.name, formatKnown(middle, format), ...crashLabel(row)],
        value: Number.isFinite(middle) ? middle / axis.size : null,
        runs: values.map((value) => (value === null ? null : value / axis.size)),
        crosses: crashedRuns(row),
        tone: row.tone,
      })),
    },
    table: runTable(heading, '', rows, measure),
  };
}

/** More runs than that are lines of a table, not columns: it would be wider than a page. */
const MOST_RUN_COLUMNS = 10;

/** The median and each run of all rows. `heading`: of their names. */
export function runTable<Run>(
  caption: string,
  heading: string,
  rows: readonly Row<Run>[],
  measure: Measure<Run>,
): Table {
  const runs = Math.max(0, ...rows.map((row) => row.runs.length));
  const names = ['median', ...Array.from({ length: runs }, (_, run) => `run ${run + 1}`)];
  const cells = rows.map((row) => [
    formatKnown(rowMedian(row, measure), measure.format),
    ...Array.from({ length: runs }, (_, run) => runCell(row, row.runs[run], measure)),
  ]);
  const upright = runs > MOST_RUN_COLUMNS;
  const [across, down] = upright
    ? [rows.map(({ name }) => name), names]
    : [names, rows.map(({ name }) => name)];
  return {
    caption: `${caption}: every run`,
    columns: [{ heading }, ...across.map((name) => ({ heading: name, figures: true }))],
    rows: down.map((name, line) => [
      name,
      ...across.map((_, column) => (upright ? cells[column]?.[line] : cells[line]?.[column]) ?? NOTHING),
    ]),
  };
}

function runCell<Run>({ crashed }: Row<Run>, run: Run | undefined, { of, format }: Measure<Run>): string {
  if (run === undefined) return NOTHING;
  const figure = formatKnown(of(run), format);
  return crashed?.(run) === true ? `${figure}, ${CRASHED}` : figure;
}

export function axisTitle(name: string, { name: unit }: AxisUnit): string {
  return unit === '' ? name : `${name}, ${unit}`;
}
