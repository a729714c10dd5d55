import { closeSync, constants, fsync, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';

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

/** Makes a directory for this process's user alone, with those above it, so that it lasts itself. Harmless if it is there. */
export async function makeSyncedDirectory(path: string): Promise<void> {
  const whole = resolve(path);
  const first = await mkdir(whole, { recursive: true, mode: 0o700 });
  // An earlier run may have ended between the two.
  const top = dirname(first ?? whole);
  for (let parent = dirname(whole); ; parent = dirname(parent)) {
    await syncDirectory(parent);
    if (parent === top) return;
  }
}
