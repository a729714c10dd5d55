import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MigrationError } from '../../shared/errors.js';
import { MigrationIdSchema, NameSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';
import { makeSyncedDirectory, syncDirectory, SyncedDirectory } from '../system/synced-directory.js';
import { unwritable, writeSynced } from '../system/write-synced.js';

/**
 * Who owns a guest, durably. One small file a migration, written with fsync and an atomic rename, and the
 * directory synced after it, so that a decision that was announced is still there after a power cut.
 *
 * Source: 'commit-sent' before the commit is sent. Target: 'committed' or 'aborted', whichever comes first; the
 * first decision is never overwritten. What became of a 'commit-sent' may take its place:
 * - 'released': nothing of the guest is left here, and the target has not yet been told that its record is not asked for any more;
 * - 'taken-back': the operator has declared the guest this node's without the target's word.
 */
export const JournalEntrySchema = z.strictObject({
  migration: MigrationIdSchema,
  decision: z.enum(['commit-sent', 'committed', 'aborted', 'released', 'taken-back']),
  vm: NameSchema,
  peer: NameSchema,
  at: z.iso.datetime(),
});
export type JournalEntry = z.output<typeof JournalEntrySchema>;
export type Decision = JournalEntry['decision'];

/** An entry as its file has it: one that came back from the disk as another one must not decide who owns a guest. */
const JournalFileSchema = JournalEntrySchema.extend({ sha256: z.string() });

/** The content of an entry's file. */
export function journalText(entry: JournalEntry): string {
  return JSON.stringify({ ...entry, sha256: checksum(entry) }) + '\n';
}

function checksum({ migration, decision, vm, peer, at }: JournalEntry): string {
  return createHash('sha256').update([migration, decision, vm, peer, at].join(' ')).digest('hex');
}

/** Ends the name of an entry that is written but does not count yet: what a crash interrupts, or stage() prepared. */
const STAGED = '.staged';

/**
 * Entries 'aborted' that are kept. Those of sources that ended in good order are forgotten then; the rest would stay for
 * good. The oldest may go: one of which nothing is known was not committed either, and that is what is answered.
 */
export const MAX_ABORTED_ENTRIES = 1000;

/**
 * Entries after which no further migration is let in or out, since others than 'aborted' can't be dropped unasked:
 * bounds the files that peers can cause which break off behind every commit.
 */
export const MAX_JOURNAL_ENTRIES = 10_000;

export class OwnershipJournal {
  readonly #directory: string;
  readonly #synced: SyncedDirectory;
  /** In the order of their decisions. */
  readonly #entries: Map<string, JournalEntry>;
  /** Entries that lie ready, complete and synced, and become the decision by a rename and a sync of the directory. */
  readonly #staged = new Map<string, JournalEntry>();
  /** Entries that could not be written, and may be on the disk all the same; none that say 'aborted', as no entry does. */
  readonly #uncertain = new Map<string, JournalEntry>();
  /** The last step under way for each migration: they follow each other, so that two can't both be the first. */
  readonly #queues = new Map<string, Promise<unknown>>();

  private constructor(directory: string, entries: Map<string, JournalEntry>) {
    this.#directory = directory;
    this.#synced = new SyncedDirectory(directory);
    this.#entries = entries;
  }

  /** Reads all entries. Throws internal, naming the file, if one is not readable: it must not be guessed at. */
  static async open(directory: string): Promise<OwnershipJournal> {
    await makeSyncedDirectory(directory);
    try {
      // An earlier run may have failed to: what is read must be what a power cut leaves.
      await syncDirectory(directory);
    } catch (error) {
      throw unwritable(`the journal ${directory}`, error);
    }
    const found: JournalEntry[] = [];
    for (const file of await readdir(directory)) {
      const path = join(directory, file);
      if (file.endsWith(STAGED)) await rm(path, { force: true });
      if (!file.endsWith('.json')) continue;
      const entry = await readEntry(path);
      if (file !== `${entry.migration}.json`) {
        throw new MigrationError(
          'internal',
          `the journal entry ${path} is about migration ${entry.migration}, which belongs into another file: ${REMEDY}`,
        );
      }
      found.push(entry);
    }
    found.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
    const entries = new Map(found.map((entry) => [entry.migration, entry]));
    return new OwnershipJournal(directory, entries);
  }

  get(migration: string): JournalEntry | undefined {
    return this.#entries.get(migration);
  }

  /**
   * A decision that could not be written and may turn up after a restart all the same: its rename happened, and neither was that
   * made to last nor undone. The next decide() takes its place, and even where it fails may have made certain that it is gone.
   */
  uncertain(migration: string): JournalEntry | undefined {
    return this.#uncertain.get(migration);
  }

  /** Every entry on record. */
  entries(): JournalEntry[] {
    return [...this.#entries.values()];
  }

  /**
   * Writes an entry ahead of its decision, so that decide() has only a rename to do while the guest waits for it.
   * It does not count before that. Throws internal if it can't be written: better now than in the switchover; and
   * limit-exceeded where the journal is full.
   */
  async stage(entry: JournalEntry): Promise<void> {
    if (this.#entries.size >= MAX_JOURNAL_ENTRIES) {
      throw new MigrationError(
        'limit-exceeded',
        `the journal ${this.#directory} has ${this.#entries.size} entries, its limit: move those away of which you ` +
          'know which node owns the VM, and restart the agent',
      );
    }
    await this.#inTurn(entry.migration, () => this.#stage(entry));
  }

  /** Removes what stage() wrote, where no decision came of it. Harmless where nothing is staged. */
  async unstage(migration: string): Promise<void> {
    await this.#inTurn(migration, async () => {
      if (!this.#staged.delete(migration)) return;
      await rm(this.#path(migration) + STAGED, { force: true });
    });
  }

  /**
   * Records the decision unless one is on record, and returns the one that holds. Resolves once it is durable;
   * throws internal if it could not be written, and then nothing is on record, unless uncertain() says otherwise.
   */
  async decide(entry: JournalEntry): Promise<Decision> {
    return await this.#inTurn(entry.migration, async () => {
      const known = this.#entries.get(entry.migration);
      if (known) return known.decision;
      try {
        await this.#write(entry);
      } catch (error) {
        await this.#takeBack(entry.migration);
        throw error;
      }
      if (entry.decision === 'aborted') this.#dropOldAborted();
      return entry.decision;
    });
  }

  /**
   * Puts what became of a 'commit-sent' in its place. Throws internal if that can't be written, and then it stands as it was: also
   * for the next run of the agent, unless the disk refuses that as well.
   */
  async supersede(migration: string, decision: 'released' | 'taken-back'): Promise<void> {
    await this.#inTurn(migration, async () => {
      const known = this.#entries.get(migration);
      if (known?.decision !== 'commit-sent') {
        const text = `the journal says that migration ${migration} is ${known?.decision ?? 'unknown'}, not commit-sent`;
        throw new MigrationError('internal', text);
      }
      try {
        await this.#replace({ ...known, decision });
      } catch (error) {
        // Its rename may have happened, and must not turn up after a restart.
        await this.#replace(known).catch(() => undefined);
        throw unwritable(`the journal ${this.#path(migration)}`, error);
      }
      this.#entries.set(migration, { ...known, decision });
    });
  }

  /**
   * Forgets a migration whose outcome both sides know. Harmless when repeated. Throws internal if its file can't be
   * removed, and then it is still on record.
   */
  async forget(migration: string): Promise<void> {
    await this.#inTurn(migration, async () => {
      const path = this.#path(migration);
      try {
        if (!this.#entries.has(migration) && !this.#uncertain.has(migration)) return;
        await rm(path, { force: true });
        await this.#synced.sync();
      } catch (error) {
        const reason = (error as Error).message;
        throw new MigrationError('internal', `the journal entry ${path} can't be removed: ${reason}`, {
          cause: error,
        });
      }
      this.#entries.delete(migration);
      this.#uncertain.delete(migration);
    });
  }

  #dropOldAborted(): void {
    const aborted = this.entries().filter(({ decision }) => decision === 'aborted');
    for (const { migration } of aborted.slice(0, Math.max(0, aborted.length - MAX_ABORTED_ENTRIES))) {
      // one that can't be removed now is tried again with the next
      this.forget(migration).catch(() => undefined);
    }
  }

  async #inTurn<T>(migration: string, step: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(migration) ?? Promise.resolve();
    const turn = before.then(step, step);
    this.#queues.set(migration, turn);
    try {
      return await turn;
    } finally {
      if (this.#queues.get(migration) === turn) this.#queues.delete(migration);
    }
  }

  async #stage(entry: JournalEntry): Promise<void> {
    const path = this.#path(entry.migration) + STAGED;
    // What lay there is overwritten.
    this.#staged.delete(entry.migration);
    try {
      await writeSynced(path, journalText(entry));
      // What is staged must not need a descriptor to be decided.
      this.#synced.open();
      this.#staged.set(entry.migration, entry);
    } catch (error) {
      // One that stays all the same is overwritten by the next, or removed at the next start.
      await rm(path, { force: true }).catch(() => undefined);
      throw unwritable(`the journal ${path}`, error);
    }
  }

  async #write(entry: JournalEntry): Promise<void> {
    const { migration } = entry;
    const path = this.#path(migration);
    if (this.#staged.get(migration)?.decision !== entry.decision) await this.#stage(entry);
    const staged = this.#staged.get(migration)!;
    this.#staged.delete(migration);
    try {
      await rename(path + STAGED, path);
      await this.#synced.sync();
    } catch (error) {
      if (staged.decision !== 'aborted' && mayHaveRenamed(error)) this.#uncertain.set(migration, staged);
      throw unwritable(`the journal ${path}`, error);
    }
    this.#uncertain.delete(migration);
    this.#entries.set(migration, staged);
  }

  async #replace(entry: JournalEntry): Promise<void> {
    const path = this.#path(entry.migration);
    await writeSynced(path + STAGED, journalText(entry));
    await rename(path + STAGED, path);
    await this.#synced.sync();
  }

  /** What is not known to be durable must not turn up after a restart. */
  async #takeBack(migration: string): Promise<void> {
    const path = this.#path(migration);
    // Does not count, whatever becomes of it.
    await rm(path + STAGED, { force: true }).catch(() => undefined);
    try {
      await rm(path, { force: true });
      await this.#synced.sync();
      this.#uncertain.delete(migration);
    } catch {
      // The write that failed says why; a disk that refuses this too has nothing to add.
    }
  }

  #path(migration: string): string {
    return join(this.#directory, `${migration}.json`);
  }
}

/** Whether a rename and the sync after it, which failed, may show on the disk: by POSIX a rename that fails changes nothing, but for EIO. */
function mayHaveRenamed(error: unknown): boolean {
  const { syscall, code } = error as NodeJS.ErrnoException;
  // ETIMEDOUT is how a network file system says EIO.
  return syscall !== 'rename' || code === 'EIO' || code === 'ETIMEDOUT';
}

const REMEDY = 'move it away once you know which node owns the VM';

async function readEntry(path: string): Promise<JournalEntry> {
  const what = `the journal entry ${path}`;
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is no JSON' : `can't be read: ${(error as Error).message}`;
    throw new MigrationError('internal', `${what} ${why}: ${REMEDY}`, { cause: error });
  }
  const { sha256, ...entry } = validate(JournalFileSchema, value, 'internal', `${what} (${REMEDY})`);
  if (sha256 === checksum(entry)) return entry;
  throw new MigrationError('internal', `${what} is not as it was written, its checksum says: ${REMEDY}`);
}
