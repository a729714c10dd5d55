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
