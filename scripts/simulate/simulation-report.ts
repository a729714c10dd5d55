import type { Scenario } from './scenario.js';

/** What `vmferry simulate` prints with --json. Times are in ms, sizes in bytes. */
export interface SimulationReport {
  /** The command line that repeats it. */
  readonly command: string;
  readonly scenario: Scenario;
  readonly cluster: {
    readonly nodes: number;
    readonly guests: number;
    readonly memoryBytes: number;
    /** Mean write rate of a guest to the mean rate of a link. */
    readonly dirtyRatio: number;
  };
  /** The guests as they are: one at a time per pair, then each number at once. */
  readonly policies: readonly PolicyFigures[];
  /** The same with guests that write more or less; empty unless asked for. */
  readonly sweep: readonly SweepPoint[];
}

export interface SweepPoint {
  readonly dirtyRatio: number;
  readonly policies: readonly PolicyFigures[];
}

export interface PolicyFigures {
  /** Migrations per node; null: one at a time per pair, by the pair lock. */
  readonly atOnce: number | null;
  readonly migrations: number;
  /** From the request until the last guest runs on its target. */
  readonly totalMs: number;
  readonly wireBytes: number;
  /** Of populated memory, moved once. */
  readonly populatedBytes: number;
  /** Migrations whose rounds ended by a limit instead of below the threshold. */
  readonly notConverged: number;
  /** Of these, those that were cancelled: the guest stays. */
  readonly notMoved: number;
  readonly downtimeMs: Spread & { readonly sum: number };
  /** From the grant of its nodes until the guest runs on the target. */
  readonly migrationMs: Spread;
  /** From the request until the guest runs on the target. */
  readonly doneAfterMs: Spread;
  /** Most migrations that any node took part in at once. */
  readonly mostPerNode: number;
  /** Events of the simulation. */
  readonly events: number;
}

/** Of all migrations: the median, what 99 of 100 stay below, the largest. 0 where there are none. */
export interface Spread {
  readonly median: number;
  readonly percentile99: number;
  readonly longest: number;
}
