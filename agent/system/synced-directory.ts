import { closeSync, constants, fsync, openSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { hasCode } from './system-call-error.js';
import { unwritable } from './write-synced.js';

/**
 * Makes last what was renamed, made or removed in a directory, so that it is still so after a power cut. The directory stays open from
 * the first use on: a process that has no descriptor left can still make a decision last.
 */
export class SyncedDirectory {
  readonly #path: string;
  #fd: number | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Ahead of what must not fail for want of a descriptor. Harmless when repeated. */
  open(): void {
    this.#fd ??= openSync(this.#path, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  async sync(): Promise<void> {
    this.open();
    await promisify(fsync)(this.#fd!);
  }
}

/** The same once, for a directory that need not stay open. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await promisify(fsync)(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a directory for this process's user alone, with those above it, so that it lasts itself. Harmless if it is there. Throws what
 * unwritable() says.
 */
export async function makeSyncedDirectory(path: string): Promise<void> {
  const whole = resolve(path);
  try {
    const first = await makeDirectory(whole);
    // An earlier run may have ended between the two.
    const top = dirname(first ?? whole);
    for (let parent = dirname(whole); ; parent = dirname(parent)) {
      await syncDirectory(parent);
      if (parent === top) return;
    }
  } catch (error) {
    throw unwritable(`the directory ${whole}`, error);
  }
}

/**
 * With those above it; resolves with the first that was not there, null if all were. One by one: mkdir's own option for that never returns
 * where a directory is there and takes no others, as /proc.
 */
async function makeDirectory(path: string, again = true): Promise<string | null> {
  try {
    await mkdir(path, { mode: 0o700 });
    return path;
  } catch (error) {
    if (hasCode(error, 'EEXIST') && (await isDirectory(path))) return null;
    if (!hasCode(error, 'ENOENT')) throw error;
    const parent = dirname(path);
    // Somebody else has made it just now, who may not have made it last yet; or it takes no others.
    const there = await isDirectory(parent);
    if (there && !again) throw error;
    const first = there ? parent : await makeDirectory(parent);
    return (await makeDirectory(path, false)) === null ? null : first;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}
