import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { MigrationError } from '../../shared/errors.js';
import { type GuestDefinition, GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { validate } from '../../shared/validate.js';
import { syncDirectory } from '../system/sync-directory.js';
import { hasCode } from '../system/system-call-error.js';

export interface StoredDefinition {
  definition: GuestDefinition;
  image: Uint8Array | undefined;
}

/** Where those of guests that are coming here wait for their commit: a directory each, named after the migration. */
const ARRIVALS = 'arriving';

/** The definitions of a node's guests on disk: NAME.json, and NAME.elf for a program image. */
export class DefinitionFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads all. Throws invalid-definition, naming the file, for one that is not readable. */
  async load(): Promise<StoredDefinition[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
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

  async save({ definition, image }: StoredDefinition): Promise<void> {
    if (image) await writeImage(this.#directory, definition.name, image);
    await writeDefinition(this.#directory, definition);
  }

  async remove(name: string): Promise<void> {
    const path = join(this.#directory, name);
    await rm(`${path}.json`, { force: true });
    await rm(`${path}.elf`, { force: true });
  }

  /** Writes what promote() needs, durably: at the commit nothing is left that takes room on the disk. */
  async stage(migration: string, definition: GuestDefinition): Promise<void> {
    await mkdir(this.#arrival(migration), { recursive: true, mode: 0o700 });
    await writeDefinition(this.#arrival(migration), definition);
  }

  async stageImage(migration: string, name: string, image: Uint8Array): Promise<void> {
    await writeImage(this.#arrival(migration), name, image);
  }

  /** The guest of that migration is the node's. Harmless when repeated. */
  async promote(migration: string): Promise<void> {
    const arrival = this.#arrival(migration);
    // The image first: a definition stands for all of it. In the alphabet it comes first, too.
    for (const file of (await readdirIfAny(arrival)).sort()) {
      await rename(join(arrival, file), join(this.#directory, file));
    }
    await syncDirectory(this.#directory);
    await this.unstage(migration);
  }

  async unstage(migration: string): Promise<void> {
    await rm(this.#arrival(migration), { recursive: true, force: true });
  }

  /** What an earlier run left of arrivals: those that were committed are the node's, the others are gone. */
  async settleArrivals(isCommitted: (migration: string) => boolean): Promise<void> {
    for (const migration of await readdirIfAny(join(this.#directory, ARRIVALS))) {
      if (isCommitted(migration)) await this.promote(migration);
      else await this.unstage(migration);
    }
  }

  #arrival(migration: string): string {
    return join(this.#directory, ARRIVALS, migration);
  }
}

async function writeDefinition(directory: string, definition: GuestDefinition): Promise<void> {
  const text = JSON.stringify(definition, null, 2) + '\n';
  await write(join(directory, `${definition.name}.json`), text);
}

async function writeImage(directory: string, name: string, image: Uint8Array): Promise<void> {
  await write(join(directory, `${name}.elf`), Buffer.from(image));
}

/** Throws internal, naming the file. */
async function write(path: string, content: string | Buffer): Promise<void> {
  try {
    await writeFileAtomic(path, content, { mode: 0o600 });
  } catch (error) {
    const text = `${path} can't be written: ${(error as Error).message}: free or mend that disk`;
    throw new MigrationError('internal', text, { cause: error });
  }
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
