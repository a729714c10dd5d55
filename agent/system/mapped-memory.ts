import { closeSync, fstatSync, openSync, statfsSync } from 'node:fs';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { mapAnonymous, mapShared, memoryAt, punchHole, seekData, seekHole, unmap } from './system-calls.js';

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
}

interface Mapping {
  readonly address: number;
  readonly bytes: number;
}

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
    const mapping = { address: mapShared(this.#fd, offset, bytes), bytes };
    const buffer = memoryAt(mapping.address, bytes);
    unreachable.register(buffer, mapping);
    this.#mappings.push(mapping);
    const memory = new Uint8Array(buffer);
    return {
      memory,
      populated: (firstPage, pageCount) => this.#populated(offset, firstPage, pageCount),
      clear: (firstPage, pageCount) => this.#clear(offset, memory, firstPage, pageCount, blockBytes),
    };
  }

  #populated(offset: number, firstPage: number, pageCount: number): Pages[] {
    if (this.#fd < 0) return [];
    const ranges: Pages[] = [];
    const end = offset + (firstPage + pageCount) * PAGE_SIZE;
    for (let at = offset + firstPage * PAGE_SIZE; at < end;) {
      const data = seekData(this.#fd, at);
      if (data === undefined || data >= end) break;
      at = Math.min(seekHole(this.#fd, data), end);
      ranges.push({ firstPage: (data - offset) / PAGE_SIZE, pageCount: (at - data) / PAGE_SIZE });
    }
    return ranges;
  }

  #clear(offset: number, memory: Uint8Array, firstPage: number, pageCount: number, blockBytes: number): void {
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
