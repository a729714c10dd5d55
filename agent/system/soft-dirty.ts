import { readSync, writeFileSync } from 'node:fs';
import { PAGE_SIZE } from '../../shared/page.js';
import type { AddressRange, TakeRange } from './userfaultfd.js';

/** The soft-dirty bits of a process: Documentation/admin-guide/mm/soft-dirty.rst. */

const PAGEMAP_ENTRY_BYTES = 8;
/** Bit 55 of an entry, in the upper of its two 32-bit words. */
const SOFT_DIRTY = 1 << (55 - 32);
const ENTRIES_PER_READ = 131_072;

/** Clears the bits of all memory of a process. */
export function clearSoftDirty(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '4');
}

/** Tells `take` the memory in a range whose bit is set, ascending. `pagemap` is an open /proc/PID/pagemap. */
export function readSoftDirty(pagemap: number, { start, end }: AddressRange, take: TakeRange): void {
  const entries = Buffer.alloc(Math.min(ENTRIES_PER_READ, (end - start) / PAGE_SIZE) * PAGEMAP_ENTRY_BYTES);
  let from = -1;
  for (let address = start; address < end;) {
    const wanted = Math.min(entries.length, ((end - address) / PAGE_SIZE) * PAGEMAP_ENTRY_BYTES);
    const position = (address / PAGE_SIZE) * PAGEMAP_ENTRY_BYTES;
    const read = readSync(pagemap, entries, 0, wanted, position);
    if (read === 0) break;
    for (let at = 4; at < read; at += PAGEMAP_ENTRY_BYTES, address += PAGE_SIZE) {
      const isDirty = (entries.readUInt32LE(at) & SOFT_DIRTY) !== 0;
      if (isDirty && from < 0) from = address;
      if (!isDirty && from >= 0) {
        take(from, address);
        from = -1;
      }
    }
  }
  if (from >= 0) take(from, end);
}
