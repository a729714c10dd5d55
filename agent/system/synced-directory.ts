import { constants, fsync, openSync } from 'node:fs';
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
