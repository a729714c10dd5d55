import { formatBytes } from '../../../shared/units.js';
import { bytesUnit } from './axis-unit.js';
import { CRASHED } from './crashes.js';
import { groupBy } from './group-by.js';
import { axisTitle, rowMedian, runTable, type Measure, type Row } from './measure.js';
import type { Figure } from './section.js';

/** A size of guests that a benchmark varies. bytes */
export interface Size<Series> {
  readonly name: string;
  readonly of: (series: Series) => number;
  /** What series have in common that differ in this size alone. */
  readonly traits: (series: Series) => readonly string[];
}

/** Series that differ in one size alone, by that. */
export interface Line<Series> {
  /** What tells it from the other lines; empty if it is the only one. */
  readonly name: string;
  /** What it has in common with them. */
  readonly shared: readonly string[];
  readonly series: readonly Series[];
}

export function linesOf<Series>(series: readonly Series[], { of, traits }: Size<Series>): Line<Series>[] {
  const groups = [...groupBy(series, (each) => JSON.stringify(traits(each))).values()].filter(
    (group) => new Set(group.map(of)).size > 1,
  );
  const all = groups.map((group) => group.slice(0, 1).flatMap(traits));
  const differs = (trait: number) => new Set(all.map((each) => each[trait])).size > 1;
  return groups.map((group, line) => ({
    name: (all[line] ?? []).filter((_, trait) => differs(trait)).join(', '),
    shared: (all[line] ?? []).filter((_, trait) => !differs(trait)),
    series: group.sort((a, b) => of(a) - of(b)),
  }));
}

interface NamedGuest {
  readonly guest: string;
  readonly memoryBytes: number;
}

/** Of 'qemu 8.0 GiB with 500 MiB in use': 'qemu with 500 MiB in use', which guests share that differ in memory. */
export function withoutMemory({ guest, memoryBytes }: NamedGuest): string {
  return guest.replace(` ${formatBytes(memoryBytes)}`, '');
}

/** Of 'qemu 8.0 GiB with 500 MiB in use': 'qemu 8.0 GiB', which guests share that differ in what is populated. */
export function upToMemory({ guest, memoryBytes }: NamedGuest): string {
  const memory = formatBytes(memoryBytes);
  return guest.includes(memory) ? guest.slice(0, guest.indexOf(memory) + memory.length) : guest;
}

/** Lines through medians, with all runs. `rowOf`: the runs of a series, under the name of its size. */
export function lineFigure<Series, Run>(
  heading: string,
  size: Size<Series>,
  measure: Measure<Run>,
  lines: readonly Line<Series>[],
  rowOf: (series: Series, name: string) => Row<Run>,
): Figure {
  const drawn = lines.map(({ name, series }) => ({
    name,
    points: series.map((each) => ({
      bytes: size.of(each),
      row: rowOf(each, [...(lines.length > 1 ? [name] : []), formatBytes(size.of(each))].join(', ')),
    })),
  }));
  const points = drawn.flatMap((line) => line.points);
  const across = bytesUnit(Math.max(0, ...points.map(({ bytes }) => bytes)));
  const axis = measure.unit(
    Math.max(0, ...points.flatMap(({ row }) => row.runs.map((run) => measure.of(run) ?? 0))),
  );
  return {
    heading,
    plot: {
      kind: 'lines',
      axis: axisTitle(measure.name, axis),
      across: axisTitle(size.name, across),
      cross: CRASHED,
      lines: drawn.map(({ name, points }) => {
        const runs = points.flatMap(({ bytes, row: { runs, crashed } }) =>
          runs.flatMap((run) => {
            const value = measure.of(run);
            const point = { x: bytes / across.size, y: (value ?? NaN) / axis.size };
            return value === null ? [] : [{ point, cross: crashed?.(run) === true }];
          }),
        );
        return {
          name,
          medians: points.map(({ bytes, row }) => ({
            x: bytes / across.size,
            y: rowMedian(row, measure) / axis.size,
          })),
          runs: runs.map(({ point }) => point),
          crosses: runs.flatMap(({ cross }, run) => (cross ? [run] : [])),
        };
      }),
    },
    table: runTable(
      heading,
      size.name,
      points.map(({ row }) => row),
      measure,
    ),
  };
}
