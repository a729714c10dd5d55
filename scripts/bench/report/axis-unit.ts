/** The unit of an axis: its name, and how many of what is measured make one of it. */
export interface AxisUnit {
  readonly name: string;
  readonly size: number;
}

/** The unit of an axis that reaches to this value. */
export type UnitFor = (largest: number) => AxisUnit;

const largestThatFits =
  (units: readonly AxisUnit[]): UnitFor =>
  (largest) =>
    units.findLast(({ size }) => largest >= size) ?? units[0] ?? { name: '', size: 1 };

/** Of times in ms. */
export const durationUnit = largestThatFits([
  { name: 'ms', size: 1 },
  { name: 's', size: 1e3 },
  { name: 'min', size: 60e3 },
]);

export const bytesUnit = largestThatFits([
  { name: 'B', size: 1 },
  { name: 'KiB', size: 2 ** 10 },
  { name: 'MiB', size: 2 ** 20 },
  { name: 'GiB', size: 2 ** 30 },
]);

/** Of bytes a second, decimal as links are rated. */
export const rateUnit = largestThatFits([
  { name: 'kB/s', size: 1e3 },
  { name: 'MB/s', size: 1e6 },
  { name: 'GB/s', size: 1e9 },
]);

/** Of what has no unit but the one that it is counted in. */
export const plainUnit =
  (name: string): UnitFor =>
  () => ({ name, size: 1 });
