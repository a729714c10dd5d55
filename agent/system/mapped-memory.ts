import { closeSync, fstatSync, openSync, statfsSync, writeSync } from 'node:fs';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { hasCode } from './system-call-error.js';
import {
  mapAnonymous,
  mapShared,
  memoryAt,
  punchHole,
  residentPages,
  seekData,
  unmap,
} from './system-calls.js';

/** Size of all windows but the last of a file. Half of what a Buffer of Node 20 can hold; whole huge pages of any size. */
export const MAX_WINDOW_BYTES = 2 ** 31;

/** f_type of hugetlbfs, from linux/magic.h. */
const HUGETLBFS_MAGIC = 0x958458f6;

interface Pages {
  readonly firstPage: number;
  readonly pageCount: number;
}

/** Part of a mapped file. Pages are counted from its start. */
export interface MappedWindow {
  /** All of one ArrayBuffer. */
  readonly memory: Uint8Array;
  /** The parts of a range that are no holes, ascending. On hugetlbfs, which doesn't tell, all of it. */
  populated(firstPage: number, pageCount: number): Pages[];
  /** Makes holes of a range. */
  clear(firstPage: number, pageCount: number): void;
  /**
   * Puts bytes at an offset. Twice as fast as a copy into `memory` where there are holes, which the kernel need not make zero
   * and map first; and where the file system is full this throws target-out-of-memory, and a copy ends the process. RangeError
   * beyond the window. Absent on hugetlbfs, which knows no write(2).
   */
  readonly write?: (offset: number, bytes: Uint8Array) => void;
}

interface Mapping {
  /** Where it begins in the file. */
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
  /** What can become a hole. */
  readonly blockBytes: number;
}

/** How many pages are looked at together, in steps that double. */
const MIN_RESIDENT_STEP = 16;
const MAX_RESIDENT_STEP = 16_384;
const resident = new Uint8Array(MAX_RESIDENT_STEP);

/** Memory stays mapped for as long as something can look at it: an access to what is unmapped ends the process. */
const unreachable = new FinalizationRegistry<Mapping>(({ address, bytes }) => unmap(address, bytes));

/**
 * A file of memory (tmpfs, hugetlbfs, memfd) that is mapped here and elsewhere. Nobody may make it smaller while it is
 * mapped: the kernel ends a process with SIGBUS that reads past the end.
 */
export class MappedFile {
  /** st_dev and st_ino: what the file is known by in /proc/PID/maps. */
  readonly device: number;
  readonly inode: number;
  readonly windows: readonly MappedWindow[];
  readonly #mappings: Mapping[] = [];
  #fd: number;

  /** Maps a file that exists and has that size. Throws guest-failed, SystemCallError, and what node:fs throws. */
  static open(path: string, bytes: number): MappedFile {
    const fd = openSync(path, 'r+');
    try {
      const stat = fstatSync(fd);
      if (stat.size !== bytes || bytes % PAGE_SIZE !== 0 || bytes === 0) {
        throw new MigrationError(
          'guest-failed',
          `RAM file ${path} has ${stat.size} bytes where whole pages of ${bytes} bytes in all were expected`,
        );
      }
      const { type, bsize } = statfsSync(path);
      return new MappedFile(fd, stat, bytes, type === HUGETLBFS_MAGIC ? bsize : PAGE_SIZE);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  private constructor(fd: number, stat: { dev: number; ino: number }, bytes: number, blockBytes: number) {
    this.#fd = fd;
    this.device = stat.dev;
    this.inode = stat.ino;
    const windows: MappedWindow[] = [];
    try {
      for (let offset = 0; offset < bytes; offset += MAX_WINDOW_BYTES) {
        windows.push(this.#map(offset, Math.min(MAX_WINDOW_BYTES, bytes - offset), blockBytes));
      }
    } catch (error) {
      this.#detach();
      throw error;
    }
    this.windows = windows;
  }

  #map(offset: number, bytes: number, blockBytes: number): MappedWindow {
    const mapping = { offset, address: mapShared(this.#fd, offset, bytes), bytes, blockBytes };
    const buffer = memoryAt(mapping.address, bytes);
    unreachable.register(buffer, mapping);
    this.#mappings.push(mapping);
    const memory = new Uint8Array(buffer);
    return {
      memory,
      populated: (firstPage, pageCount) => this.#populated(mapping, firstPage, pageCount),
      clear: (firstPage, pageCount) => this.#clear(mapping, memory, firstPage, pageCount),
      ...(blockBytes === PAGE_SIZE && { write: (at, data) => this.#write(mapping, at, data) }),
    };
  }

  /**
   * SEEK_DATA finds the next data at once, swapped out or not. SEEK_HOLE would look at every page to the end of that data,
   * wherever the range ends: what is resident is no hole either, and can be asked for a few pages.
   */
  #populated({ offset, address, blockBytes }: Mapping, firstPage: number, pageCount: number): Pages[] {
    if (this.#fd < 0) return [];
    if (blockBytes > PAGE_SIZE) return [{ firstPage, pageCount }];
    const ranges: { firstPage: number; pageCount: number }[] = [];
    const endPage = firstPage + pageCount;
    let step = MIN_RESIDENT_STEP;
    for (let page = firstPage; page < endPage;) {
      const data = seekData(this.#fd, offset + page * PAGE_SIZE);
      if (data === undefined) break;
      page = (data - offset) / PAGE_SIZE;
      if (page >= endPage) break;
      const asked = Math.min(step, endPage - page);
      residentPages(address + page * PAGE_SIZE, asked * PAGE_SIZE, resident);
      // The first is data, whether or not it is swapped out.
      let found = 1;
      while (found < asked && (resident[found]! & 1) === 1) found += 1;
      const last = ranges.at(-1);
      if (last && last.firstPage + last.pageCount === page) last.pageCount += found;
      else ranges.push({ firstPage: page, pageCount: found });
      page += found;
      step = found === asked ? Math.min(step * 2, MAX_RESIDENT_STEP) : MIN_RESIDENT_STEP;
    }
    return ranges;
  }

  #write({ offset, bytes: size }: Mapping, at: number, bytes: Uint8Array): void {
    if (!(at >= 0 && at + bytes.length <= size)) {
      throw new RangeError(`${bytes.length} bytes at ${at} are outside of the ${size} bytes of the memory`);
    }
    if (this.#fd < 0) return;
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, offset + at + done);
      }
    } catch (cause) {
      if (!hasCode(cause, 'ENOSPC', 'ENOMEM', 'EDQUOT')) throw cause;
      const text =
        "the file system of the guests' memory is full: free some of it, or raise its size (mount -o remount,size=…)";
      throw new MigrationError('target-out-of-memory', text, { cause });
    }
  }

  #clear({ offset, blockBytes }: Mapping, memory: Uint8Array, firstPage: number, pageCount: number): void {
    if (this.#fd < 0) return;
    // Only whole blocks can become holes: older kernels leave parts of a huge page as they are.
    const start = firstPage * PAGE_SIZE;
    const end = start + pageCount * PAGE_SIZE;
    const firstBlock = Math.ceil(start / blockBytes) * blockBytes;
    const endBlock = Math.floor(end / blockBytes) * blockBytes;
    if (firstBlock >= endBlock) {
      memory.fill(0, start, end);
      return;
    }
    memory.fill(0, start, firstBlock);
    punchHole(this.#fd, offset + firstBlock, endBlock - firstBlock);
    memory.fill(0, endBlock, end);
  }

  /** Pages of all of the file that are no holes. */
  allocatedPages(): number {
    return this.#fd < 0 ? 0 : fstatSync(this.#fd).blocks / (PAGE_SIZE / 512);
  }

  /** Lets go of the file. Whoever still has a view of it reads zeros, and what they write is lost. Harmless when repeated. */
  release(): void {
    if (this.#fd < 0) return;
    this.#detach();
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #detach(): void {
    for (const { address, bytes } of this.#mappings) mapAnonymous(bytes, address);
  }
}
