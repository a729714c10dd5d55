import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DefinitionFiles } from '../../../agent/guest/definition-files.js';
import { RunDirectory } from '../../../agent/guest/qemu/process/run-directory.js';
import { JournalEntrySchema, OwnershipJournal } from '../../../agent/journal/ownership-journal.js';
import { MigrationError } from '../../../shared/errors.js';
import { mutatedBytes } from '../mutate.js';
import type { Random } from '../random.js';
import type { FuzzTargetKind } from '../target.js';
import { DEFINITIONS } from './pure.js';

/** Files of the agent's own that came back from the disk as something else: it says so, names the file, and does not guess. */

/** `read` throws naming the file, or what it gives is what the file says. */
function fileTarget(
  name: string,
  file: string,
  samples: readonly Buffer[],
  read: (directory: string, content: Buffer) => Promise<void>,
): FuzzTargetKind {
  return {
    ...{ name, cases: 10_000, ciCases: 200 },
    open: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'vmferry-fuzz-'));
      const run = async (random: Random) => {
        const content = mutatedBytes(random, samples);
        await writeFile(join(directory, file), content);
        try {
          await read(directory, content);
        } catch (error) {
          if (!(error instanceof MigrationError)) throw error;
          if (!error.message.includes(join(directory, file))) {
            throw new Error(`the file is not named: ${error.message}`, { cause: error });
          }
        }
        const left = await readdir(directory);
        if (left.join() !== file) throw new Error(`the directory has ${left.join()}`);
      };
      return { run, close: () => rm(directory, { recursive: true, force: true }) };
    },
  };
}

const ENTRY = {
  migration: 'm-20260101-0001',
  decision: 'committed',
  vm: 'web',
  peer: 'a',
  at: '2026-01-01T00:00:00.000Z',
};
const ENTRIES = [ENTRY, { ...ENTRY, decision: 'commit-sent' }, { ...ENTRY, decision: 'aborted' }];
const text = (value: unknown) => Buffer.from(JSON.stringify(value, null, 2) + '\n');

const journal = fileTarget(
  'journal',
  `${ENTRY.migration}.json`,
  ENTRIES.map(text),
  async (directory, content) => {
    const entries = (await OwnershipJournal.open(directory)).entries();
    // What is taken is what is there, whole.
    const written = JournalEntrySchema.parse(JSON.parse(content.toString()));
    if (entries.length !== 1 || JSON.stringify(entries[0]) !== JSON.stringify(written)) {
      throw new Error(`guessed: ${JSON.stringify(entries)}`);
    }
  },
);

const definitionFiles = fileTarget(
  'definition-files',
  'web.json',
  DEFINITIONS.map(text),
  async (directory) => {
    const found = await new DefinitionFiles(directory).load();
    if (found.length !== 1) throw new Error(`${found.length} definitions of one file`);
  },
);

const RECORD = {
  version: 1,
  definition: DEFINITIONS[1],
  node: 'a',
  process: null,
  wanted: 'running',
  incoming: null,
  ramFiles: ['/dev/shm/vmferry-a-db.ram'],
  qmpSocket: '/run/db/qmp.sock',
  consoleBase: 0,
  accel: 'tcg',
};
const RECORDS = [RECORD, { ...RECORD, incoming: 'm-20260101-0001', wanted: 'paused' }].map(text);

const records = fileTarget('run-records', 'guest.json', RECORDS, async (directory) => {
  await new RunDirectory(directory, '.').read();
});

export const FILE_TARGETS: readonly FuzzTargetKind[] = [journal, definitionFiles, records];
