import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { MigrationError } from '../shared/errors.js';
import { hasCode } from './system/system-call-error.js';
import { writeAtomic } from './system/write-synced.js';

/** Whether guests may come to this node, over restarts of its agent: a file that is there while they may not. */
export class DrainState {
  readonly #node: string;
  readonly #file: string;
  readonly #logger: Logger;
  #drained: boolean;

  private constructor(node: string, file: string, logger: Logger, drained: boolean) {
    this.#node = node;
    this.#file = file;
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

  /** Resolves once a later run of the agent will know. Throws internal or limit-exceeded, and nothing is changed then. */
  async set(drained: boolean): Promise<void> {
    if (drained) await writeAtomic(this.#file, `${new Date().toISOString()}\n`);
    else await rm(this.#file, { force: true });
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
