import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, killAndWait } from './killed-processes.js';
import { processesOf } from './qemu-processes.js';

/** A tmpfs: where the RAM of guests lies. */
const MEMORY = '/dev/shm';

/**
 * Folders for agents and guests that run for a while. They bear the id of the process that made them in their names: with
 * them end the processes that have files in them on their command lines, and what a killed process has left behind is
 * found by the next one.
 */
export class RunFolders {
  /** For state, sockets, consoles. */
  readonly files: string;
  /** For the RAM of guests. */
  readonly memory: string;
  readonly #removeAtExit = () => this.removeNow();

  constructor(purpose: string) {
    const prefix = `vmferry-${purpose}-`;
    for (const parent of [tmpdir(), MEMORY]) removeLeftovers(parent, prefix);
    this.files = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
    this.memory = mkdtempSync(join(MEMORY, `${prefix}${process.pid}-`));
    process.once('exit', this.#removeAtExit);
  }

  /** Removes them, and ends what still runs with files in them. Harmless when repeated; may be called as the process ends. */
  removeNow(): void {
    process.off('exit', this.#removeAtExit);
    for (const folder of [this.files, this.memory]) removeFolder(folder);
  }
}

function removeLeftovers(parent: string, prefix: string): void {
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : NaN;
    if (!Number.isNaN(pid) && !isAlive(pid)) removeFolder(join(parent, name));
  }
}

function removeFolder(folder: string): void {
  killAndWait(processesOf(folder));
  rmSync(folder, { recursive: true, force: true });
}
