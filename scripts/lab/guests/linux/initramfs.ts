/** A file, a folder or a device of an archive; the names of folders come before what is in them. */
export interface ArchiveEntry {
  readonly name: string;
  /** Type and permissions, as in stat(2). */
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

const TRAILER = 'TRAILER!!!';

/**
 * An archive that Linux unpacks as its first file system.
 * Format: "newc" of https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
 */
export function initramfs(entries: readonly ArchiveEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) => encoded(entry, index + 1));
  return Buffer.concat([...parts, ...encoded({ name: TRAILER, mode: 0 }, 0)]);
}

function encoded(
  { name, mode, content = Buffer.alloc(0), device = [0, 0] }: ArchiveEntry,
  inode: number,
): Uint8Array[] {
  const [uid, gid, links, modified, checksum] = [0, 0, 1, 0, 0];
  const onDevice = [0, 0];
  const fields = [inode, mode, uid, gid, links, modified, content.length, ...onDevice, ...device];
  const header = [...fields, name.length + 1, checksum].map((field) => field.toString(16).padStart(8, '0'));
  const head = Buffer.from(`070701${header.join('')}${name}\0`, 'latin1');
  return [head, padding(head.length), content, padding(content.length)];
}

/** Header and content each end at a multiple of four. */
function padding(length: number): Uint8Array {
  return Buffer.alloc(-length & 3);
}
