import { closeSync } from 'node:fs';
import { addressOf, ioctl, systemCall } from './system-calls.js';

/**
 * What userfaultfd and PAGEMAP_SCAN offer to track writes: ioctls and structures as in linux/userfaultfd.h and linux/fs.h.
 * Writes themselves never wait for a reader of the descriptor.
 */

/** Number of the system call, for those who make it in another process. */
export const SYS_USERFAULTFD = process.arch === 'x64' ? 323 : 282;
/**
 * Close on exec, don't block, and no faults of the kernel's own are to be served: so it needs no privilege. Writes by the
 * kernel are tracked all the same, since a fault that is resolved at once is served by nobody.
 */
export const USERFAULTFD_FLAGS = 0o2000000 | 0o4000 | 1;

/** What such a descriptor stands for, in /proc/PID/fd. */
export const USERFAULTFD_LINK = 'anon_inode:[userfaultfd]';

const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const UFFD_API = 0xaan;
const UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1n << 12n;
const UFFD_FEATURE_WP_UNPOPULATED = 1n << 13n;
const UFFD_FEATURE_WP_ASYNC = 1n << 15n;
const UFFDIO_REGISTER_MODE_WP = 2n;
const PAGEMAP_SCAN = 0xc0606610;
const PM_SCAN_WP_MATCHING = 1n;
const PM_SCAN_CHECK_WPASYNC = 2n;
const PAGE_IS_WRITTEN = 2n;
/** Ranges returned by one scan; 24 bytes each. */
const SCAN_RANGES = 65_536;

/** A range of addresses of a process: from `start` to `end`, which is not in it. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/** Is told a range of addresses; called for one after the other, so that however many there are none is kept. */
export type TakeRange = (start: number, end: number) => void;

/** Write protection of memory of the process that made the descriptor, which this class closes. */
export class WriteProtection {
  readonly #fd: number;
  #open = true;

  /** A descriptor for this process itself. Throws SystemCallError. */
  static ofThisProcess(): WriteProtection {
    return new WriteProtection(systemCall('userfaultfd', SYS_USERFAULTFD, USERFAULTFD_FLAGS));
  }

  /** Takes over a new descriptor. Throws SystemCallError: EINVAL where the kernel lacks a feature (before Linux 6.7). */
  constructor(fd: number) {
    this.#fd = fd;
    const features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC;
    try {
      ioctl('UFFDIO_API', fd, UFFDIO_API, bytesOf(UFFD_API, features, 0n));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** From now on writes to that memory can be told. Throws SystemCallError: EBUSY if somebody does that already. */
  register({ start, end }: AddressRange): void {
    const range = bytesOf(BigInt(start), BigInt(end - start), UFFDIO_REGISTER_MODE_WP, 0n);
    ioctl('UFFDIO_REGISTER', this.#fd, UFFDIO_REGISTER, range);
  }

  /** Ends it for all that was registered. Harmless when repeated. */
  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

const found = Buffer.alloc(SCAN_RANGES * 24);

/**
 * Tells `take` the memory in a registered range that was written since the last scan of it (at the first: all that the
 * process has mapped so far); it is protected again, atomically per page. `pagemap` is an open /proc/PID/pagemap. Mostly
 * ascending: where there are many, the kernel names a place before the last of them as the end of its walk, and what was
 * written behind that meanwhile is told too.
 * Throws SystemCallError: EPERM if part of the range is not registered, ESRCH if the process has ended.
 */
export function takeWritten(pagemap: number, { start, end }: AddressRange, take: TakeRange): void {
  for (let at = start; at < end;) {
    // Any other masks take a path of the kernel's on which unmapped pages of a file are told wrongly.
    const argument = bytesOf(
      96n,
      PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
      BigInt(at),
      BigInt(end),
      0n,
      BigInt(addressOf(found)),
      BigInt(SCAN_RANGES),
      0n,
      0n,
      PAGE_IS_WRITTEN,
      0n,
      PAGE_IS_WRITTEN,
    );
    const ranges = ioctl('PAGEMAP_SCAN', pagemap, PAGEMAP_SCAN, argument);
    for (let i = 0; i < ranges; i += 1) {
      take(addressAt(found, i * 24), addressAt(found, i * 24 + 8));
    }
    at = addressAt(argument, 32);
  }
}

function addressAt(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32;
}

function bytesOf(...words: bigint[]): Buffer {
  return Buffer.from(BigUint64Array.from(words).buffer);
}
