import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { MigrationError } from '../../shared/errors.js';
import { MigrationIdSchema, NameSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';

/**
 * Who owns a guest, durably. One small file a migration, written with fsync and an atomic rename, and the
 * directory synced after it, so that a decision that was announced is still there after a power cut.
 *
 * Source: 'commit-sent' before the commit is sent. Target: 'committed' or 'aborted', whichever comes first; the
 * first decision is never overwritten.
 */
export const JournalEntrySchema = z.strictObject({
  migration: MigrationIdSchema,
  decision: z.enum(['commit-sent', 'committed', 'aborted']),
  vm: NameSchema,
  peer: NameSchema,
  at: z.iso.datetime(),
});
export type JournalEntry = z.output<typeof JournalEntrySchema>;
export type Decision = JournalEntry['decision'];

export class OwnershipJournal {
  readonly #directory: string;
  readonly #entries: Map<string, JournalEntry>;
  /** Decisions being written, so that two for one migration can't both be the first. */
  readonly #writing = new Map<string, Promise<unknown>>();

  private constructor(directory: string, entries: Map<string, JournalEntry>) {
    this.#directory = directory;
    this.#entries = entries;
  }

  /** Reads all entries. Throws internal, naming the file, if one is not readable: it must not be guessed at. */
  static async open(directory: string): Promise<OwnershipJournal> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const entries = new Map<string, JournalEntry>();
    for (const file of await readdir(directory)) {
      if (!file.endsWith('.json')) continue;
      const path = join(directory, file);
      const entry = parseEntry(path, await readFile(path, 'utf8'));
      entries.set(entry.migration, entry);
    }
    return new OwnershipJournal(directory, entries);
  }

  get(migration: string): JournalEntry | undefined {
    return this.#entries.get(migration);
  }

  /** Every entry on record. */
  entries(): JournalEntry[] {
    return [...this.#entries.values()];
  }

  /**
   * Records the decision unless one is on record, and returns the one that holds. Resolves once it is durable;
   * throws internal if it could not be written, and then nothing is on record.
   */
  async decide(entry: JournalEntry): Promise<Decision> {
    await this.#writing.get(entry.migration)?.catch(() => undefined);
    const known = this.#entries.get(entry.migration);
    if (known) return known.decision;
    const write = this.#write(entry);
    this.#writing.set(entry.migration, write);
    try {
      await write;
    } finally {
      this.#writing.delete(entry.migration);
    }
    this.#entries.set(entry.migration, entry);
    return entry.decision;
  }

  /** Forgets a migration whose outcome both sides know. Harmless when repeated. */
  async forget(migration: string): Promise<void> {
    await this.#writing.get(migration)?.catch(() => undefined);
    if (!this.#entries.delete(migration)) return;
    await rm(this.#path(migration), { force: true });
  }

  async #write(entry: JournalEntry): Promise<void> {
    const path = this.#path(entry.migration);
    try {
      await writeFileAtomic(path, JSON.stringify(entry) + '\n', { mode: 0o600, fsync: true });
      await syncDirectory(this.#directory);
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined);
      const reason = (error as Error).message;
      throw new MigrationError('internal', `the journal ${path} can't be written: ${reason}`, {
        cause: error,
      });
    }
  }

  #path(migration: string): string {
    return join(this.#directory, `${migration}.json`);
  }
}

function parseEntry(path: string, text: string): JournalEntry {
  const what = `the journal entry ${path}`;
  const remedy = 'move it away once you know which node owns the VM';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MigrationError('internal', `${what} is no JSON: ${remedy}`, { cause: error });
  }
  return validate(JournalEntrySchema, value, 'internal', `${what} (${remedy})`);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
