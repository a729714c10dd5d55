/** A guest's own report of its work, as in scripts/lab/guests/linux/workload.c. */
export interface WorkReport {
  /** Where its line begins and ends in all that the guest printed. */
  readonly start: number;
  readonly end: number;
  /** By the guest's clock, which stands still while the guest does. */
  readonly microseconds: number;
  /** Done since the workload began. */
  readonly pages: number;
}

/** The reports in a part of what a guest printed, which begins at `position`. Lines that are cut off are left out. */
export function workReports(printed: string, position = 0): WorkReport[] {
  return [...printed.matchAll(/(?<=^|\n)work (\d+) (\d+)\r?\n/g)].map((match) => ({
    start: position + match.index,
    end: position + match.index + match[0].length,
    microseconds: Number(match[1]),
    pages: Number(match[2]),
  }));
}

/**
 * Pages a second of the guest's clock, between the first and the last report that lie in [from, to) of what it printed. So a
 * window begins and ends up to one report (20 ms) later and earlier than it was cut, and its rate is exact. Null where
 * it has less than two reports.
 */
export function workPerSecond(reports: readonly WorkReport[], from: number, to: number): number | null {
  const inside = reports.filter(({ start, end }) => start >= from && end <= to);
  const [first, last] = [inside.at(0), inside.at(-1)];
  if (!first || !last || first.microseconds === last.microseconds) return null;
  return ((last.pages - first.pages) * 1e6) / (last.microseconds - first.microseconds);
}

/** Positions in what a guest printed at which it was let run, was asked to move, ran on the target, and was halted. */
export interface MoveMarks {
  readonly running: number;
  readonly requested: number;
  readonly moved: number;
  readonly end: number;
}

/** Its work rate before, during and after a move; null for a guest that tells nothing, or too little. */
export function workRates(reports: readonly WorkReport[], { running, requested, moved, end }: MoveMarks) {
  const before = workPerSecond(reports, running, requested);
  const during = workPerSecond(reports, requested, moved);
  const after = workPerSecond(reports, moved, end);
  return before === null || during === null || after === null ? null : { before, during, after };
}
