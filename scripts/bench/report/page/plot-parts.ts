import type { ChartConfigurationCustomTypesPerDataset } from 'chart.js';
import type { Palette } from './palette.js';
import type { Point } from './plots.js';

/** What plots of all kinds are made of. */

/** Height of a row of a plot with bars or lanes whose label has two lines, and of what is above and below all rows. px */
export const ROW = 42;
export const FRAME = 56;

/** A value, or one at the place of a category. */
export type Datum = number | null | Point | { readonly x: number | [number, number]; readonly y: string };
export type Configuration = ChartConfigurationCustomTypesPerDataset<'bar' | 'scatter', Datum[]>;
export type Dataset = Configuration['data']['datasets'][number];

export function quantity(text: string, colours: Palette) {
  return {
    type: 'linear' as const,
    beginAtZero: true,
    title: { display: true, text, color: colours.text },
    grid: { color: colours.grid },
    border: { color: colours.text },
    ticks: { color: colours.text, maxTicksLimit: 7, maxRotation: 0 },
  };
}

/** Chart.js finds a category by its text, which need not be unique: each goes by its number. */
export function names(labels: readonly (string | readonly string[])[], colours: Palette) {
  return {
    type: 'category' as const,
    labels: labels.map((_, number) => String(number)),
    grid: { display: false },
    border: { color: colours.text },
    ticks: {
      color: colours.text,
      autoSkip: false,
      callback: (number: string | number) => {
        const label = labels[Number(number)] ?? '';
        return typeof label === 'string' ? label : [...label];
      },
    },
  };
}

/** A number as people read it; what stands beside the plot is rounded in the same way. */
export function figure(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 4 });
}

/** Of a point that has a name of its own. */
export function nameOf(raw: unknown): string | undefined {
  return typeof raw === 'object' && raw !== null && 'name' in raw ? String(raw.name) : undefined;
}

/** A run in a plot: a dot, or a cross. */
export interface RunPoint {
  readonly x: number;
  readonly y: number | string;
  readonly name: string;
  readonly crossed: boolean;
}

/** Runs as dots, and above them crosses, which tell from dots by shape as well as by colour. */
export function runPoints(
  runs: readonly RunPoint[],
  { radius, border, cross }: { radius: number; border: string; cross: string },
) {
  const points = [...runs.filter(({ crossed }) => !crossed), ...runs.filter(({ crossed }) => crossed)];
  return {
    data: points as Datum[],
    pointStyle: points.map(({ crossed }) => (crossed ? 'crossRot' : 'circle')),
    pointRadius: points.map(({ crossed }) => (crossed ? 5.5 : radius)),
    pointBorderColor: points.map(({ crossed }) => (crossed ? cross : border)),
    pointBorderWidth: points.map(({ crossed }) => (crossed ? 3 : 1)),
  };
}

/** What all plots have in common: no animation, so that what is printed or looked at is what there is. */
export const OPTIONS = { animation: false, responsive: true, maintainAspectRatio: false } as const;
