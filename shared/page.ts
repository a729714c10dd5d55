/** Unit of tracking and of addressing in the protocol, in bytes. */
export const PAGE_SIZE = 4096;

/**
 * Consecutive pages of one region: the unit of copying.
 * Region is an index into the guest's list of regions; firstPage and pageCount count pages of PAGE_SIZE.
 */
export interface Run {
  readonly region: number;
  readonly firstPage: number;
  readonly pageCount: number;
}

/** Number of pages in all of `runs`. */
export function countPages(runs: readonly Run[]): number {
  let pages = 0;
  for (const run of runs) pages += run.pageCount;
  return pages;
}

/**
 * The pages that are in any of `runs`, once each, in ascending order, joined where they touch.
 * The input may be in any order and may overlap.
 */
export function unionRuns(runs: readonly Run[]): Run[] {
  const sorted = [...runs].sort((a, b) => a.region - b.region || a.firstPage - b.firstPage);
  const union: Run[] = [];
  for (const run of sorted) {
    const last = union.at(-1);
    if (last && last.region === run.region && run.firstPage <= last.firstPage + last.pageCount) {
      const end = Math.max(last.firstPage + last.pageCount, run.firstPage + run.pageCount);
      union[union.length - 1] = { ...last, pageCount: end - last.firstPage };
    } else if (run.pageCount > 0) {
      union.push(run);
    }
  }
  return union;
}
