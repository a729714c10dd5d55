import type { Row } from './measure.js';

/** What a cross in a plot says. */
export const CRASHED = 'crashed';

/** How often guests crashed, '2 of 5'; null where none of them tells. */
export function crashCount<Run>({ runs, crashed }: Row<Run>): { crashes: number; text: string } | null {
  const told = crashed ? runs.map(crashed) : [];
  if (told.every((each) => each === null)) return null;
  const crashes = told.filter((each) => each === true).length;
  return { crashes, text: `${crashes} of ${runs.length}` };
}

/** To be said above the figures: these moves were none that anybody wants. Empty if no guest crashed. */
export function crashWarnings<Run>(rows: readonly Row<Run>[]): string[] {
  const crashes = rows.flatMap((row) => {
    const count = crashCount(row);
    return count && count.crashes > 0 ? [`${row.name}: ${count.text}`] : [];
  });
  return crashes.length === 0
    ? []
    : [
        `The guest crashed on the target after some of the moves (${crashes.join('; ')}). These moves are crosses in the plots, and count in all figures.`,
      ];
}

/** Indices of the runs after which the guest crashed. */
export function crashedRuns<Run>({ runs, crashed }: Row<Run>): number[] {
  return runs.flatMap((run, index) => (crashed?.(run) === true ? [index] : []));
}

/** A line more of the label of a row; none if no guest crashed. */
export function crashLabel<Run>(row: Row<Run>): string[] {
  const count = crashCount(row);
  return count && count.crashes > 0 ? [`${count.text} ${CRASHED}`] : [];
}
