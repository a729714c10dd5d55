import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationError } from '../../shared/errors.js';
import { type GuestDefinition, GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { validate } from '../../shared/validate.js';
import { makeSyncedDirectory, syncDirectory, SyncedDirectory } from '../system/synced-directory.js';
import { hasCode } from '../system/system-call-error.js';
import { removeUnfinished, writeAtomic } from '../system/write-synced.js';

export interface StoredDefinition {
  definition: GuestDefinition;
  image: Uint8Array | undefined;
}

/** Where those of guests that are coming here wait for their commit: a directory each, named after the migration. */
const ARRIVALS = 'arriving';

/**
 * The definitions of a node's guests on disk: NAME.json, and NAME.elf for a program image. What is asked for of one name
 * is done in turn, so that a removal can't be overtaken by a save.
 */
export class DefinitionFiles {
  readonly #directory: string;
  readonly #synced: SyncedDirectory;
  /** What is under way, by name. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(directory: string) {
    this.#directory = directory;
    this.#synced = new SyncedDirectory(directory);
  }

  /** Reads all. Throws invalid-definition, naming the file, for one that is not readable. */
  async load(): Promise<StoredDefinition[]> {
    await makeSyncedDirectory(this.#directory);
    this.#synced.open();
    await removeUnfinished(this.#directory);
    const files = await readdir(this.#directory);
    const stored: StoredDefinition[] = [];
    for (const file of files.filter((name) => name.endsWith('.json')).sort()) {
      const path = join(this.#directory, file);
      const image = file.replace(/\.json$/, '.elf');
      stored.push({
        definition: parse(path, await readFile(path, 'utf8')),
        image: files.includes(image) ? await readFile(join(this.#directory, image)) : undefined,
      });
    }
    return stored;
  }

  /** Resolves once it lasts. */
  async save({ definition, image }: StoredDefinition): Promise<void> {
    const { name } = definition;
    await this.#inTurn(name, async () => {
      if (image) await writeImage(this.#directory, name, image);
      // One that is left of another VM of that name would be taken for this one's.
      else await rm(join(this.#directory, `${name}.elf`), { force: true });
      await writeDefinition(this.#directory, definition);
      await this.#synced.sync();
    });
  }

  /** Resolves once they are gone for good: a VM that has moved must not be there again after a power cut. */
  async remove(name: string): Promise<void> {
    const path = join(this.#directory, name);
    await this.#inTurn(name, async () => {
      await rm(`${path}.json`, { force: true });
      await rm(`${path}.elf`, { force: true });
      await this.#synced.sync();
    });
  }

  /** Writes what promote() needs, durably: at the commit nothing is left that takes room on the disk, or a descriptor. */
  async stage(migration: string, definition: GuestDefinition): Promise<void> {
    const arrival = this.#arrival(migration);
    await this.#inTurn(definition.name, async () => {
      await makeSyncedDirectory(arrival);
      await writeDefinition(arrival, definition);
      await syncDirectory(arrival);
    });
  }

  async stageImage(migration: string, name: string, image: Uint8Array): Promise<void> {
    const arrival = this.#arrival(migration);
    await this.#inTurn(name, async () => {
      await writeImage(arrival, name, image);
      await syncDirectory(arrival);
    });
  }

  /** The guest of that migration is the node's. Harmless when repeated. */
  async promote(migration: string, name: string): Promise<void> {
    const arrival = this.#arrival(migration);
    await this.#inTurn(name, async () => {
      // The image first: a definition stands for all of it.
      for (const file of filesOf(name)) {
        await rename(join(arrival, file), join(this.#directory, file)).catch(unlessAbsent);
      }
      await this.#synced.sync();
      await removeArrival(arrival, name);
    });
  }

  /** Harmless when repeated. An image may just be on its way to the disk: it does not come after. */
  async unstage(migration: string, name: string): Promise<void> {
    await this.#inTurn(name, () => removeArrival(this.#arrival(migration), name));
  }

  /** Resolves once nothing is under way of what was asked for so far. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#turns.values());
  }

  /** What an earlier run left of arrivals: those that were committed are the node's, the others are gone. */
  async settleArrivals(isCommitted: (migration: string) => boolean): Promise<void> {
    const arrivals = join(this.#directory, ARRIVALS);
    for (const migration of await readdirIfAny(arrivals)) {
      if (isCommitted(migration)) {
        for (const file of await readdirIfAny(this.#arrival(migration))) {
          if (file.endsWith('.json')) await this.promote(migration, file.replace(/\.json$/, ''));
        }
      }
      await rm(this.#arrival(migration), { recursive: true, force: true });
    }
  }

  #arrival(migration: string): string {
    return join(this.#directory, ARRIVALS, migration);
  }

  #inTurn(name: string, operation: () => Promise<void>): Promise<void> {
    const next = (this.#turns.get(name) ?? Promise.resolve()).catch(() => undefined).then(operation);
    this.#turns.set(name, next);
    const forget = () => {
      if (this.#turns.get(name) === next) this.#turns.delete(name);
    };
    next.then(forget, forget);
    return next;
  }
}

function filesOf(name: string): readonly string[] {
  return [`${name}.elf`, `${name}.json`];
}

async function removeArrival(arrival: string, name: string): Promise<void> {
  // By their names: to list a directory takes a descriptor.
  for (const file of filesOf(name)) await rm(join(arrival, file), { force: true });
  await rm(arrival, { recursive: true, force: true });
}

function unlessAbsent(error: unknown): void {
  if (!hasCode(error, 'ENOENT')) throw error;
}

async function writeDefinition(directory: string, definition: GuestDefinition): Promise<void> {
  const text = JSON.stringify(definition, null, 2) + '\n';
  await writeAtomic(join(directory, `${definition.name}.json`), text);
}

async function writeImage(directory: string, name: string, image: Uint8Array): Promise<void> {
  await writeAtomic(join(directory, `${name}.elf`), image);
}

async function readdirIfAny(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

function parse(path: string, text: string): GuestDefinition {
  try {
    return validate(
      GuestDefinitionSchema,
      JSON.parse(text),
      'invalid-definition',
      `the definition in ${path}`,
    );
  } catch (error) {
    if (error instanceof MigrationError) throw error;
    throw new MigrationError(
      'invalid-definition',
      `the definition in ${path} is no JSON: remove or mend the file`,
      {
        cause: error,
      },
    );
  }
}
