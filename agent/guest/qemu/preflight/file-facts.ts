import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, constants, readFile, stat } from 'node:fs/promises';
import { toMigrationError } from '../../../../shared/errors.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { fileSystemOf } from '../host/host-memory.js';

/** A disk of a guest as one host sees it. */
export interface DiskFacts {
  readonly path: string;
  /** Why it can't be opened as the guest needs it; null if it can. */
  readonly problem: string | null;
  readonly kind: 'file' | 'block device' | 'other';
  /** st_dev and st_ino: within one boot of one host, equal for the same file alone. Empty if it is not there. */
  readonly identity: string;
  /** Of a file; 0 of others. */
  readonly bytes: number;
  readonly fileSystem: { readonly type: string; readonly local: boolean } | null;
}

/** A kernel or initrd as one host sees it. */
export interface BootFileFacts {
  readonly what: 'kernel' | 'initrd';
  readonly path: string;
  /** Of its content, in hexadecimal; null if it can't be read. */
  readonly sha256: string | null;
  /** Why it can't be read; null if it can. */
  readonly problem: string | null;
}

/** The files of a definition as one host sees them. */
export interface FileFacts {
  /** The definition's, in its order. */
  readonly disks: readonly DiskFacts[];
  readonly bootFiles: readonly BootFileFacts[];
}

export async function fileFacts({ disks, boot }: QemuDefinition): Promise<FileFacts> {
  return {
    disks: await Promise.all(disks.map(({ file, readonly }) => diskFacts(file, readonly))),
    bootFiles: await bootFileFacts(boot),
  };
}

export async function diskFacts(path: string, readonly: boolean): Promise<DiskFacts> {
  try {
    const info = await stat(path);
    const kind = info.isFile() ? 'file' : info.isBlockDevice() ? 'block device' : 'other';
    return {
      path,
      problem: await accessProblem(path, readonly),
      kind,
      identity: `${info.dev}:${info.ino}`,
      bytes: kind === 'file' ? info.size : 0,
      fileSystem: kind === 'file' ? await fileSystemOf(path) : null,
    };
  } catch (error) {
    const problem = toMigrationError(error).message;
    return { path, problem, kind: 'other', identity: '', bytes: 0, fileSystem: null };
  }
}

export async function bootFileFacts(
  boot: { kernel: string; initrd?: string | undefined } | undefined,
): Promise<BootFileFacts[]> {
  if (!boot) return [];
  const kernel = await bootFile('kernel', boot.kernel);
  return boot.initrd === undefined ? [kernel] : [kernel, await bootFile('initrd', boot.initrd)];
}

/** Largest kernel or initrd that is looked at. bytes */
const MAX_BOOT_FILE_BYTES = 2 ** 31;

/** Files whose hashes are kept: bounds what peers can make an agent keep. */
const MAX_HASHES = 1000;

/** One boot of one host: what tells whether two agents are on the same one. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
}

async function accessProblem(path: string, readonly: boolean): Promise<string | null> {
  try {
    await access(path, readonly ? constants.R_OK : constants.R_OK | constants.W_OK);
    return null;
  } catch (error) {
    return toMigrationError(error).message;
  }
}

/** Hashes of files as they are now; every migration of a VM asks for those of its kernel. */
const hashes = new Map<string, { version: string; sha256: string }>();

async function bootFile(what: 'kernel' | 'initrd', path: string): Promise<BootFileFacts> {
  try {
    const info = await stat(path, { bigint: true });
    const { dev, ino, size, mtimeNs, ctimeNs } = info;
    // The path may be a peer's: a device or a pipe would be read for ever.
    if (!info.isFile()) throw new Error('it is no regular file');
    if (size > MAX_BOOT_FILE_BYTES) throw new Error(`it has ${size} bytes, more than any kernel`);
    const version = [dev, ino, size, mtimeNs, ctimeNs].join(':');
    const known = hashes.get(path);
    if (known?.version === version) return { what, path, sha256: known.sha256, problem: null };
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    const sha256 = hash.digest('hex');
    if (hashes.size >= MAX_HASHES) hashes.clear();
    hashes.set(path, { version, sha256 });
    return { what, path, sha256, problem: null };
  } catch (error) {
    return { what, path, sha256: null, problem: toMigrationError(error).message };
  }
}
