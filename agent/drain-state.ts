import { access, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { MigrationError } from '../shared/errors.js';
import { hasCode } from './system/system-call-error.js';
import { SyncedDirectory } from './system/synced-directory.js';
import { unwritable, writeAtomic } from './system/write-synced.js';

/** Whether guests may come to this node, over restarts of its agent: a file that is there while they may not. */
export class DrainState {
  readonly #node: string;
  readonly #file: string;
  readonly #directory: SyncedDirectory;
  readonly #logger: Logger;
  #drained: boolean;
  /** Changes follow each other: what the file says in the end is what this says. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(node: string, file: string, logger: Logger, drained: boolean) {
    this.#node = node;
    this.#file = file;
    this.#directory = new SyncedDirectory(dirname(file));
    this.#logger = logger;
    this.#drained = drained;
  }

  static async open(node: string, stateDirectory: string, logger: Logger): Promise<DrainState> {
    const file = join(stateDirectory, 'drained');
    const drained = await access(file).then(
      () => true,
      (error: unknown) => {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      },
    );
    return new DrainState(node, file, logger, drained);
  }

  get drained(): boolean {
    return this.#drained;
  }

  /** Resolves once a later run of the agent will know. Throws internal or limit-exceeded, and this one goes on as before then. */
  async set(drained: boolean): Promise<void> {
    const turn = this.#turn.then(() => this.#set(drained));
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  async #set(drained: boolean): Promise<void> {
    if (drained) await writeAtomic(this.#file, `${new Date().toISOString()}\n`);
    try {
      if (!drained) await rm(this.#file, { force: true });
      await this.#directory.sync();
    } catch (error) {
      throw unwritable(this.#file, error);
    }
    this.#drained = drained;
    this.#logger.info(
      drained ? 'node is drained: no VM may come here' : 'node is in use again: VMs may come here',
    );
  }

  /** Throws node-drained. */
  refuseArrivals(): void {
    if (!this.#drained) return;
    throw new MigrationError(
      'node-drained',
      `node ${this.#node} is drained and takes no VMs: choose another one, or end that with 'vmferry undrain ${this.#node}'`,
    );
  }
}
