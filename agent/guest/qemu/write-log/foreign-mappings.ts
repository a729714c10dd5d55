import { readdirSync } from 'node:fs';
import { readMaps } from '../../../system/process-maps.js';
import { readStatus } from '../../../system/process-status.js';
import { hasCode } from '../../../system/system-call-error.js';

/** A process other than the guest's that can write to its memory. */
export interface ForeignMapping {
  readonly pid: number;
  readonly command: string;
}

/**
 * The processes that have one of those files mapped shared and writable, without those in `known` and this one: back
 * ends of vhost-user, whose writes no write-log of the kernel's sees. Processes that this agent may not look at are left out.
 */
export function foreignMappings(
  files: readonly { device: number; inode: number }[],
  known: readonly number[],
): ForeignMapping[] {
  const isOneOfThem = (mapping: { device: number; inode: number }): boolean =>
    files.some(({ device, inode }) => device === mapping.device && inode === mapping.inode);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && !known.includes(pid))
    .flatMap((pid) => {
      try {
        const maps = readMaps(pid);
        const found = maps.some((mapping) => mapping.shared && mapping.writable && isOneOfThem(mapping));
        return found ? [{ pid, command: readStatus(pid).command }] : [];
      } catch (error) {
        if (hasCode(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM')) return [];
        throw error;
      }
    });
}
