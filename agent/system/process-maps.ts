import { readFileSync } from 'node:fs';

/** A mapping of a process: one line of /proc/PID/maps. */
export interface ProcessMapping {
  readonly start: number;
  readonly end: number;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly shared: boolean;
  /** Where in the file `start` is. */
  readonly offset: number;
  /** st_dev and st_ino of the file; 0 and 0 for memory without one. */
  readonly device: number;
  readonly inode: number;
  /** A path, '[vdso]' and the like, or ''. */
  readonly name: string;
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$/gm;

/** The mappings of a process, ascending. Throws EACCES without ptrace access to it. */
export function readMaps(pid: number): ProcessMapping[] {
  return parseMaps(readFileSync(`/proc/${pid}/maps`, 'utf8'));
}

/** The mappings in a text in the format of proc_pid_maps(5). */
export function parseMaps(text: string): ProcessMapping[] {
  return Array.from(text.matchAll(LINE), ([, start, end, flags, offset, major, minor, inode, name]) => ({
    start: Number.parseInt(start!, 16),
    end: Number.parseInt(end!, 16),
    writable: flags![1] === 'w',
    executable: flags![2] === 'x',
    shared: flags![3] === 's',
    offset: Number.parseInt(offset!, 16),
    device: deviceNumber(Number.parseInt(major!, 16), Number.parseInt(minor!, 16)),
    inode: Number(inode),
    name: name!,
  }));
}

/** st_dev as the C library encodes it: makedev(3). */
function deviceNumber(major: number, minor: number): number {
  const low = (major & 0xfff) * 2 ** 8 + (minor & 0xff);
  return (major >>> 12) * 2 ** 44 + (minor >>> 8) * 2 ** 20 + low;
}
