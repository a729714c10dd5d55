import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { MigrationOptionsSchema } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { MigrationIdSchema, NameSchema } from '../../shared/names.js';
import { PrioritySchema } from '../../shared/protocol/messages.js';
import { validate } from '../../shared/validate.js';
import { makeSyncedDirectory, syncDirectory } from '../system/synced-directory.js';
import { removeUnfinished, unwritable, writeAtomic } from '../system/write-synced.js';

/** A migration that waits for its nodes, as the next run of the agent is to know it. */
const WaitingRequestSchema = z.strictObject({
  id: MigrationIdSchema,
  vm: NameSchema,
  to: NameSchema,
  options: MigrationOptionsSchema,
  /** Its place in the queues: Unix time in ms. */
  requestedAt: z.number().int().min(0),
  priority: PrioritySchema,
});
export type WaitingRequest = z.output<typeof WaitingRequestSchema>;

/** Migrations from this node that wait, on disk: a file each, ID.json, from the request to the moment in which both nodes are held. */
export class WaitingRequests {
  readonly #directory: string;
  readonly #logger: Logger;

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#logger = logger;
  }

  /** In the order in which they were asked for. A file that can't be read is told in the log and left as it is. */
  async load(): Promise<WaitingRequest[]> {
    await makeSyncedDirectory(this.#directory);
    await removeUnfinished(this.#directory);
    const requests: WaitingRequest[] = [];
    for (const file of await readdir(this.#directory)) {
      if (!file.endsWith('.json')) continue;
      try {
        requests.push(await this.#read(file));
      } catch (error) {
        const { message } = toMigrationError(error);
        const text = `a migration that waited when the agent ended is lost: ${message}; ask for it again, and remove the file`;
        this.#logger.error({ err: error }, text);
      }
    }
    return requests.sort((a, b) => a.requestedAt - b.requestedAt);
  }

  /** Resolves once it is on disk. Throws internal or limit-exceeded, naming the file. */
  async add(request: WaitingRequest): Promise<void> {
    const path = this.#path(request.id);
    await writeAtomic(path, `${JSON.stringify(request)}\n`);
    try {
      await syncDirectory(this.#directory);
    } catch (error) {
      throw unwritable(path, error);
    }
  }

  /**
   * Harmless where it is not there. One that can't be removed is started anew with the agent; so is one whose removal a power cut
   * undoes, which finds its VM stopped.
   */
  async remove(id: string): Promise<void> {
    try {
      await rm(this.#path(id), { force: true });
    } catch (error) {
      this.#logger.warn(
        { migration: id, err: error },
        'what is kept of a migration that waited can not be removed',
      );
    }
  }

  async #read(file: string): Promise<WaitingRequest> {
    const path = join(this.#directory, file);
    const text = await readFile(path, 'utf8');
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new MigrationError('invalid-request', `${path} is no JSON`, { cause: error });
    }
    return validate(WaitingRequestSchema, value, 'invalid-request', path);
  }

  #path(id: string): string {
    return join(this.#directory, `${id}.json`);
  }
}
