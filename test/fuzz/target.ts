import type { Random } from './random.js';

/** Something that takes input from outside, ready to be given bad input. */
export interface FuzzTarget {
  /**
   * One case. Resolves if what is promised held: a typed error or success, and nothing else changed. Rejects with what went wrong;
   * `random` decides all that the case does.
   */
  run(random: Random): void | Promise<void>;
  /** Looks at what can only be seen at the end, now and then, and lets all go at the last. */
  stillServing?(): Promise<void>;
  close?(): Promise<void>;
}

export interface FuzzTargetKind {
  readonly name: string;
  /** Cases of the nightly run, and of the one in CI. */
  readonly cases: number;
  readonly ciCases: number;
  readonly open: () => Promise<FuzzTarget>;
}
