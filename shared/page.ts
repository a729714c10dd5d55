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
 * Runs that a list holds at most: 4 MiB of objects. A guest of many GiB that has written every other page would make
 * millions, and putting these in order would take seconds of its downtime.
 */
export const MAX_RUNS = 2 ** 16;

/** Runs put together as they are found, ascending and disjoint: those that touch are joined. */
export class RunList {
  readonly #most: number;
  #runs: OpenRun[] = [];
  /** Runs with no more pages than this between them become one. */
  #gapPages = 0;

  /**
   * `most`: where there would be more runs, the pages in the smallest gaps between them are taken along: to copy these costs less
   * than to know them.
   */
  constructor(most = MAX_RUNS) {
    this.#most = Math.max(1, most);
  }

  get runs(): Run[] {
    return this.#runs;
  }

  /** Throws RangeError unless the run comes after all that were added: what was added would be lost. */
  add(region: number, firstPage: number, pageCount: number): void {
    const last = this.#runs.at(-1);
    if (
      last &&
      (last.region > region || (last.region === region && firstPage < last.firstPage + last.pageCount))
    ) {
      const page = `page ${firstPage} of region ${region}`;
      throw new RangeError(
        `${page} comes after page ${last.firstPage} of region ${last.region} in a list of runs`,
      );
    }
    if (last && this.#isNear(last, region, firstPage)) {
      last.pageCount = firstPage + pageCount - last.firstPage;
      return;
    }
    this.#runs.push({ region, firstPage, pageCount });
    // Infinite gaps leave a run for each region, of which there are few.
    while (this.#runs.length > this.#most && this.#gapPages !== Infinity) {
      this.#gapPages = Math.max(1, this.#gapPages * 2);
      this.#join();
    }
  }

  /** In place: there are many, and their number halves often while a list is made. */
  #join(): void {
    const runs = this.#runs;
    let kept = 0;
    for (const run of runs.slice(1)) {
      const last = runs[kept]!;
      if (this.#isNear(last, run.region, run.firstPage)) {
        last.pageCount = run.firstPage + run.pageCount - last.firstPage;
      } else {
        kept += 1;
        runs[kept] = run;
      }
    }
    runs.length = kept + 1;
  }

  #isNear(last: Run, region: number, firstPage: number): boolean {
    return last.region === region && firstPage - last.firstPage - last.pageCount <= this.#gapPages;
  }
}

/** A run that may still grow. */
interface OpenRun extends Run {
  pageCount: number;
}

/**
 * The pages that are in any of `runs`, once each, in ascending order, joined where they touch.
 * The input may be in any order and may overlap.
 */
export function unionRuns(runs: readonly Run[]): Run[] {
  if (areUnion(runs)) return [...runs];
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

/** Whether they are in order and apart already, as a harvest has them. */
function areUnion(runs: readonly Run[]): boolean {
  return runs.every(({ region, firstPage, pageCount }, index) => {
    const last = runs[index - 1];
    if (pageCount < 1) return false;
    return (
      !last || last.region < region || (last.region === region && last.firstPage + last.pageCount < firstPage)
    );
  });
}
