import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { MigrationError } from '../../shared/errors.js';
import { type GuestDefinition, GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { validate } from '../../shared/validate.js';

export interface StoredDefinition {
  definition: GuestDefinition;
  image: Uint8Array | undefined;
}

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
    const path = join(this.#directory, definition.name);
    if (image) await writeFileAtomic(`${path}.elf`, Buffer.from(image), { mode: 0o600 });
    await writeFileAtomic(`${path}.json`, JSON.stringify(definition, null, 2) + '\n', { mode: 0o600 });
  }

  async remove(name: string): Promise<void> {
    const path = join(this.#directory, name);
    await rm(`${path}.json`, { force: true });
    await rm(`${path}.elf`, { force: true });
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
