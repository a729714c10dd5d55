import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type JournalEntry, OwnershipJournal } from '../../../agent/journal/ownership-journal.js';
import type { Connection } from '../../../agent/link/connection.js';
import { MigrationError } from '../../../shared/errors.js';
import { ArrayGuest } from '../../support/array-guest.js';
import { MemoryMigration } from '../../support/memory-migration.js';
import { mutatedBytes } from '../mutate.js';
import type { Random } from '../random.js';
import type { FuzzTargetKind } from '../target.js';

/**
 * A migration that is broken off at any message of its control connection, after which the journals of both agents, or of one,
 * come back from the disk as something else. An agent that starts on its journal takes the guest for its own by what is
 * there; never do both, and what was garbled is said, not guessed at.
 */

const MIGRATION = 'm-00000001';
/** Messages of each direction of a migration of these guests, and some more: it may also run to its end. */
const MOST_MESSAGES = 8;

/** Lets so many messages out; what follows is lost, and the connection with it. */
function breaksAfter(messages: number): (connection: Connection) => Connection {
  let left = messages;
  return (connection) => ({
    send: (bytes) => {
      left -= 1;
      if (left >= 0) return connection.send(bytes);
      connection.close(4008, 'broken off');
      return Promise.resolve();
    },
    onMessage: (listener) => connection.onMessage(listener),
    onClose: (listener) => connection.onClose(listener),
    close: (code, reason) => connection.close(code, reason),
    setReadPaused: (paused) => connection.setReadPaused(paused),
  });
}

/** The same with one letter of one value that is another: it may still be a journal entry. */
function otherLetter(random: Random, content: Buffer): Buffer {
  const fields = Object.entries(JSON.parse(content.toString()) as Record<string, string>);
  const field = random.pick(fields);
  const at = random.below(field[1].length);
  field[1] = field[1].slice(0, at) + random.pick([...'abcxyz0123456789']) + field[1].slice(at + 1);
  return Buffer.from(JSON.stringify(Object.fromEntries(fields)) + '\n');
}

/** What an agent that starts makes of its journal; null: it says that it can't tell, and does not start. */
async function recordAt(directory: string): Promise<JournalEntry | 'none' | null> {
  try {
    return (await OwnershipJournal.open(directory)).get(MIGRATION) ?? 'none';
  } catch (error) {
    if (!(error instanceof MigrationError) || !error.message.includes(join(directory, MIGRATION)))
      throw error;
    return null;
  }
}

async function run(random: Random): Promise<void> {
  const guest = new ArrayGuest('web', 4);
  const migration = await MemoryMigration.start(guest, {
    options: { verify: random.pick(['off', 'after', 'strict']) },
    decorateSourceControl: breaksAfter(random.below(MOST_MESSAGES)),
    decorateTargetControl: breaksAfter(random.below(MOST_MESSAGES)),
    // Where the outcome is open it stays so: the agents are gone by then.
    askOutcome: () => Promise.reject(new MigrationError('link-lost', 'broken off')),
    timeouts: { askEveryMs: 1, unknownAfterMs: 1, explanationMs: 1, settledMs: 1 },
  });
  try {
    await migration.source.reported;
    migration.source.dispose();
    migration.controlConnections[0].close(4008, 'the agents have ended');
    await migration.target.settled;
    const directories = ['source', 'target'].map((side) => join(migration.directory, side));
    const before = await Promise.all(directories.map(recordAt));
    ownedOnce(before, migration);
    for (const [at, directory] of directories.entries()) {
      let garbled = false;
      for (const name of await readdir(directory)) {
        const content = await readFile(join(directory, name));
        if (random.chance(4)) continue;
        const instead = random.chance(3) ? otherLetter(random, content) : mutatedBytes(random, [content]);
        await writeFile(join(directory, name), instead);
        garbled ||= !instead.equals(content);
      }
      const after = await recordAt(directory);
      if (!isDeepStrictEqual(after, before[at]) && !(garbled && after === null)) {
        throw new Error(`guessed ${JSON.stringify(after)} where ${JSON.stringify(before[at])} was written`);
      }
    }
  } finally {
    await migration.clean();
  }
}

/** By the journals: a source runs what it has sent no commit for; a target what it has recorded. */
function ownedOnce(
  [source, target]: (JournalEntry | 'none' | null)[],
  { guest, runnable }: MemoryMigration,
): void {
  if (!source || !target) throw new Error('a journal that nobody garbled was not taken');
  const sourceRuns = source === 'none' && !guest.destroyed;
  const targetRuns = target !== 'none' && target.decision === 'committed';
  if (sourceRuns && targetRuns) throw new Error('both own it');
  if (runnable.length > 1) throw new Error('both run it');
}

export const STOPPED_COMMITS: FuzzTargetKind = {
  ...{ name: 'stopped-commits', cases: 5000, ciCases: 100 },
  open: () => Promise.resolve({ run }),
};
