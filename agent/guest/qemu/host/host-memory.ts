import { readdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** A file system as it is now. */
export interface FileSystem {
  /** 'tmpfs', 'ext4', ...; a number in hexadecimal where it is not known here. */
  readonly type: string;
  /** Whether its files can only be this host's own. */
  readonly local: boolean;
  /** Free for programs. bytes */
  readonly freeBytes: number;
  /** All of it. bytes */
  readonly totalBytes: number;
}

/** Huge pages of one size. */
export interface HugepagePool {
  /** bytes */
  readonly pageBytes: number;
  /** Neither used nor promised to a program. */
  readonly freePages: number;
  /** Whether a file system of them is mounted. */
  readonly mounted: boolean;
}

/** f_type of statfs(2); numbers from linux/magic.h and from each file system's own headers. */
const FILE_SYSTEMS: ReadonlyMap<number, { type: string; local: boolean }> = new Map([
  [0x01021994, { type: 'tmpfs', local: true }],
  [0x858458f6, { type: 'ramfs', local: true }],
  [0x958458f6, { type: 'hugetlbfs', local: true }],
  [0xef53, { type: 'ext4', local: true }],
  [0x58465342, { type: 'xfs', local: true }],
  [0x9123683e, { type: 'btrfs', local: true }],
  [0x2fc12fc1, { type: 'zfs', local: true }],
  [0xf2f52010, { type: 'f2fs', local: true }],
  [0x794c7630, { type: 'overlayfs', local: true }],
  [0x73717368, { type: 'squashfs', local: true }],
  [0x6969, { type: 'nfs', local: false }],
  [0x00c36400, { type: 'ceph', local: false }],
  [0xff534d42, { type: 'cifs', local: false }],
  [0xfe534d42, { type: 'smb2', local: false }],
  [0x01161970, { type: 'gfs2', local: false }],
  [0x7461636f, { type: 'ocfs2', local: false }],
  [0x65735546, { type: 'fuse', local: false }],
  [0x01021997, { type: '9p', local: false }],
  [0x0bd00bd0, { type: 'lustre', local: false }],
]);

const HUGEPAGES = '/sys/kernel/mm/hugepages';

/** The file system of a file or directory. Throws the system's error if there is none of that path. */
export async function fileSystemOf(path: string): Promise<FileSystem> {
  const { type, bavail, blocks, bsize } = await statfs(path);
  const known = FILE_SYSTEMS.get(type >>> 0) ?? { type: `0x${(type >>> 0).toString(16)}`, local: false };
  return { ...known, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

/** What programs can still take without the host swapping, as the kernel estimates it. bytes */
export async function availableMemory(): Promise<number> {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'latin1'))?.[1];
  return Number(kib ?? 0) * 1024;
}

/** The host's huge pages, by ascending size; none where the kernel has none. */
export async function hugepagePools(): Promise<HugepagePool[]> {
  const names = await readdir(HUGEPAGES).catch(() => []);
  const mounts = (await readFile('/proc/self/mounts', 'latin1')).split('\n');
  const pools = names.map(async (name): Promise<HugepagePool> => {
    const pageBytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0) * 1024;
    const count = async (file: string) => Number(await readFile(join(HUGEPAGES, name, file), 'latin1'));
    const freePages = (await count('free_hugepages')) - (await count('resv_hugepages'));
    return { pageBytes, freePages, mounted: mounts.some((mount) => isMountOf(mount, pageBytes)) };
  });
  return (await Promise.all(pools)).sort((a, b) => a.pageBytes - b.pageBytes);
}

/** A line of /proc/self/mounts: source, directory, type, options. */
function isMountOf(mount: string, pageBytes: number): boolean {
  const [, , type, options = ''] = mount.split(' ');
  if (type !== 'hugetlbfs') return false;
  return options.split(',').some((option) => {
    return option === `pagesize=${pageBytes / 2 ** 20}M` || option === `pagesize=${pageBytes / 2 ** 10}K`;
  });
}
