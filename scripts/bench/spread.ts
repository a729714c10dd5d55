import { median } from './median.js';

/** Of the runs of one thing: the median, and between what they lie. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** '12.3 (10.0 to 15.0)' */
export function spreadText({ median: middle, least, most }: Spread): string {
  const digits = most < 1000 ? 1 : 0;
  return `${middle.toFixed(digits)} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}
