import { readdirSync, readlinkSync } from 'node:fs';

/** What the descriptors of a process stand for, as the kernel names it: 'socket:[...]', 'anon_inode:[eventpoll]', a path. */
export function openFiles(pid: number | 'self' = 'self'): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      // closed meanwhile: the one by which the list was read, as a rule
      return [];
    }
  });
}
