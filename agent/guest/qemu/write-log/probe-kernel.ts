import { closeSync, openSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { hasCapability } from '../../../system/process-status.js';
import { clearSoftDirty, readSoftDirty } from '../../../system/soft-dirty.js';
import { hasCode } from '../../../system/system-call-error.js';
import { mapAnonymous, memoryAt, unmap } from '../../../system/system-calls.js';
import {
  type AddressRange,
  takeWritten,
  type TakeRange,
  WriteProtection,
} from '../../../system/userfaultfd.js';

/** Whether a way to follow writes works on this machine; `reason` tells why it doesn't, or what it needs. */
export interface Usability {
  readonly usable: boolean;
  readonly reason: string;
}

export interface KernelSupport {
  readonly userfaultfd: Usability;
  readonly softDirty: Usability;
}

/** What the kernel offers to follow writes, found by following those to a page of our own. Takes about a millisecond. */
export function probeKernel(): KernelSupport {
  return { userfaultfd: probeUserfaultfd(), softDirty: probeSoftDirty() };
}

function probeUserfaultfd(): Usability {
  if (process.arch !== 'x64') return unusable(`needs x86-64, and this is ${process.arch}`);
  try {
    return withProbePage((range, write, pagemap) => {
      const protection = WriteProtection.ofThisProcess();
      try {
        protection.register(range);
        const written = () => countRanges((take) => takeWritten(pagemap, range, take));
        written();
        const before = written();
        write();
        const after = written();
        if (before !== 0 || after !== 1)
          return unusable(`Linux ${release()} does not tell writes as it should`);
      } finally {
        protection.close();
      }
      return usable(`Linux ${release()} has PAGEMAP_SCAN`);
    });
  } catch (error) {
    if (hasCode(error, 'EPERM', 'EACCES')) {
      return unusable(
        'userfaultfd is forbidden to this agent: by the seccomp profile of its container, perhaps',
      );
    }
    if (hasCode(error, 'ENOSYS')) return unusable(`Linux ${release()} was built without userfaultfd`);
    if (hasCode(error, 'EINVAL', 'ENOTTY'))
      return unusable(`Linux ${release()} has no PAGEMAP_SCAN (6.7 or newer)`);
    throw error;
  }
}

function probeSoftDirty(): Usability {
  try {
    return withProbePage((range, write, pagemap) => {
      clearSoftDirty(process.pid);
      const dirty = () => countRanges((take) => readSoftDirty(pagemap, range, take));
      const before = dirty();
      write();
      const after = dirty();
      if (before !== 0 || after !== 1)
        return unusable(`Linux ${release()} has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)`);
      const hazard = softDirtyHazard(readFileSync('/proc/swaps', 'utf8'));
      return hazard === null ? usable(`Linux ${release()} has soft-dirty bits`) : unusable(hazard);
    });
  } catch (error) {
    if (hasCode(error, 'EPERM', 'EACCES', 'ENOENT', 'EINVAL')) {
      return unusable(`the soft-dirty bits can't be read or cleared (${(error as Error).message})`);
    }
    throw error;
  }
}

/**
 * Why soft-dirty bits can't be trusted on a machine with that /proc/swaps; null if they can. A page of a RAM file that is
 * swapped out leaves no entry in the page tables, so nothing tells any longer that it was written.
 */
export function softDirtyHazard(swaps: string): string | null {
  const active = swaps.trim().split('\n').slice(1);
  if (active.length === 0) return null;
  return `soft-dirty bits are lost when memory is swapped out, and ${active[0]!.split(/\s/)[0]} is in use: turn swap off`;
}

function countRanges(read: (take: TakeRange) => void): number {
  let ranges = 0;
  read(() => (ranges += 1));
  return ranges;
}

function withProbePage<T>(use: (range: AddressRange, write: () => void, pagemap: number) => T): T {
  const start = mapAnonymous(PAGE_SIZE);
  const page = new Uint8Array(memoryAt(start, PAGE_SIZE));
  const pagemap = openSync('/proc/self/pagemap', 'r');
  try {
    page[0] = 1;
    return use({ start, end: start + PAGE_SIZE }, () => void (page[0] = 2), pagemap);
  } finally {
    closeSync(pagemap);
    unmap(start, PAGE_SIZE);
  }
}

/** What is missing to follow guests that run as other users; null if nothing is. */
export function missingPrivilege(): string | null {
  return hasCapability('CAP_SYS_PTRACE')
    ? null
    : 'without the capability CAP_SYS_PTRACE only guests that run as the user of this agent can be followed, and only those that it has started where kernel.yama.ptrace_scope is 1';
}

function usable(what: string): Usability {
  const missing = missingPrivilege();
  return { usable: true, reason: missing === null ? what : `${what}; ${missing}` };
}

function unusable(reason: string): Usability {
  return { usable: false, reason };
}
