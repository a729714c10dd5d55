import { PAGE_SIZE, type Run } from '../../../../shared/page.js';
import type { TrackedRegion } from './tracked-region.js';

/**
 * Finds the pages that the guest's process has given back (balloon, free page reporting): they read as zero from then on, and
 * no write-log of the kernel's tells. A page that was given back, and came again by being read, between two harvests is
 * missed; it is zero, and nothing was written to it.
 *
 * To look for holes takes some 30 ms for each GiB in use. So the pages of the files are counted, and only where there are not as
 * many as there must be, by what was written, holes are looked for.
 */
export class VanishedPages {
  readonly #regions: readonly TrackedRegion[];
  /** Per region, 1 for each page that was no hole. */
  #present: Uint8Array[] = [];
  #presentPages = 0;

  constructor(regions: readonly TrackedRegion[]) {
    this.#regions = regions;
  }

  /** Takes note of what there is. */
  start(): void {
    this.#present = [];
    this.#look();
  }

  /** The pages that were there, or written, and have become holes; `written` is what a harvest has just returned. */
  take(written: readonly Run[]): Run[] {
    for (const { region, firstPage, pageCount } of written) {
      const present = this.#present[region]!;
      for (let page = firstPage; page < firstPage + pageCount; page += 1) {
        this.#presentPages += 1 - present[page]!;
        present[page] = 1;
      }
    }
    return this.#allocatedPages() === this.#presentPages ? [] : this.#look();
  }

  #allocatedPages(): number {
    const files = new Map(this.#regions.map((region) => [`${region.device} ${region.inode}`, region]));
    return [...files.values()].reduce((pages, file) => pages + file.allocatedPages(), 0);
  }

  #look(): Run[] {
    const vanished: Run[] = [];
    this.#presentPages = 0;
    this.#present = this.#regions.map((region, index) => {
      const pages = region.memory.length / PAGE_SIZE;
      const present = new Uint8Array(pages);
      for (const { firstPage, pageCount } of region.populated(0, pages)) {
        present.fill(1, firstPage, firstPage + pageCount);
        this.#presentPages += pageCount;
      }
      this.#present[index]?.forEach((was, page) => {
        if (was > present[page]!) vanished.push({ region: index, firstPage: page, pageCount: 1 });
      });
      return present;
    });
    return vanished;
  }
}
