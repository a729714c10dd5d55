/** A parameter of a built-in program: a whole number within a range. */
export interface ProgramParameter {
  readonly description: string;
  /** What it counts: 'ms', 'pages', ... */
  readonly unit: string;
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

/** A program that comes with the embedded machine, built for its parameters and its machine's memory. */
export interface Program {
  readonly summary: string;
  readonly parameters: Readonly<Record<string, ProgramParameter>>;
  /**
   * The image to load at the start of RAM. `value` gives a parameter's value, in its range; a combination that
   * cannot be is a RangeError whose message says why.
   */
  build(value: (parameter: string) => number, memoryBytes: number): Uint8Array;
}

/** The code has this much room; what a program computes with lies after it. */
export const PROGRAM_BYTES = 64 * 1024;
