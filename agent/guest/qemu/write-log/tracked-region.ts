import { setImmediate } from 'node:timers/promises';
import { PAGE_SIZE } from '../../../../shared/page.js';
import type { PageRange } from '../../guest.js';

/** A region of the guest, with where it is in which file: what a write-log needs to know of it. */
export interface TrackedRegion {
  /** st_dev and st_ino of its RAM file. */
  readonly device: number;
  readonly inode: number;
  /** Where in the file the region starts, in bytes. */
  readonly fileOffset: number;
  readonly memory: Uint8Array;
  /** The parts of a range that are no holes, ascending. */
  populated(firstPage: number, pageCount: number): PageRange[];
  /** Pages of all of its file that are no holes. */
  allocatedPages(): number;
}

/** Pages looked at before other work of the agent gets its turn: 128 MiB, or some 3 ms. */
const SLICE_PAGES = 32_768;

/** A slice of a region, with the parts of it that are no holes, ascending. */
export interface PopulatedSlice {
  readonly firstPage: number;
  readonly endPage: number;
  readonly populated: readonly PageRange[];
}

/** All of a region, slice by slice; other work has its turn between two of them, and after the last. */
export async function* populatedSlices(
  region: Pick<TrackedRegion, 'memory' | 'populated'>,
): AsyncGenerator<PopulatedSlice, void> {
  const pages = region.memory.length / PAGE_SIZE;
  for (let firstPage = 0; firstPage < pages; firstPage += SLICE_PAGES) {
    const endPage = Math.min(firstPage + SLICE_PAGES, pages);
    yield { firstPage, endPage, populated: region.populated(firstPage, endPage - firstPage) };
    await setImmediate();
  }
}
