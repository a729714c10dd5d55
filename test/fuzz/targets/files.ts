import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DefinitionFiles } from '../../../agent/guest/definition-files.js';
import { RunDirectory } from '../../../agent/guest/qemu/process/run-directory.js';
import {
  type JournalEntry,
  journalText,
  OwnershipJournal,
} from '../../../agent/journal/ownership-journal.js';
import { readDefinition } from '../../../scripts/cli/definition-file.js';
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

const ENTRY: JournalEntry = {
  migration: 'm-20260101-0001',
  decision: 'committed',
  vm: 'web',
  peer: 'a',
  at: '2026-01-01T00:00:00.000Z',
};
const ENTRIES = (['committed', 'commit-sent', 'aborted', 'released'] as const)
  .map((decision) => journalText({ ...ENTRY, decision }))
  .map((content) => Buffer.from(content));
const text = (value: unknown) => Buffer.from(JSON.stringify(value, null, 2) + '\n');

const journal = fileTarget('journal', `${ENTRY.migration}.json`, ENTRIES, async (directory, content) => {
  const entries = (await OwnershipJournal.open(directory)).entries();
  // What is taken is one of those that were written, whole; white space may differ.
  const [entry] = entries;
  if (!entry || entries.length > 1 || !ENTRIES.some((written) => written.toString() === journalText(entry))) {
    throw new Error(`guessed: ${JSON.stringify(entries)} from ${content.toString()}`);
  }
});

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
  ramFiles: ['/dev/shm/vmferry-a:db-1-0.ram'],
  qmpSocket: '/run/db/qmp.sock',
  consoleBase: 0,
  accel: 'tcg',
};
const RECORDS = [RECORD, { ...RECORD, incoming: 'm-20260101-0001', wanted: 'paused' }].map(text);

const records = fileTarget('run-records', 'guest.json', RECORDS, async (directory) => {
  await new RunDirectory(directory, '.').read();
});

const YAML_DEFINITIONS = [
  'name: web\nkind: embedded\nmemory: 64MiB\nprogram: dirty\nparameters: { pagesPerSecond: 2000 }\n',
  'name: own\nkind: embedded\nmemory: 2MiB\nelf: own.elf\n',
  'name: db # a comment\nkind: qemu\nmemory: &m 1GiB\ncpus: 2\nboot:\n  kernel: /boot/vmlinuz\n  append: >\n    console=ttyS0\n    quiet\n' +
    'disks:\n  - file: /srv/a.qcow2\n    format: qcow2\n  - { file: /srv/b.img, serial: "b-1" }\narguments: [-device, virtio-rng-pci]\n',
].map((content) => Buffer.from(content));

/** As people give them to the command line: what is wrong is told with the line that it is in. */
const definitionTexts = fileTarget(
  'definition-texts',
  'web.yaml',
  [...YAML_DEFINITIONS, ...DEFINITIONS.map(text)],
  async (directory) => {
    try {
      await readDefinition(join(directory, 'web.yaml'), Readable.from([]));
    } catch (error) {
      const { code, message } = error as MigrationError;
      if (code === 'invalid-image') {
        if (/\/web\.yaml:\d+: .*program image \//s.test(message)) throw error;
        throw new Error(`the line or the image is not named: ${message}`, { cause: error });
      }
      if (code !== 'invalid-definition') throw error;
      if (/\n\s+at /.test(message)) throw new Error(`a stack trace: ${message}`, { cause: error });
      if (/; .*(allowed|expected|must|known)/.test(message) && !/\/web\.yaml:\d+: /.test(message)) {
        throw new Error(`the line is not named: ${message}`, { cause: error });
      }
      throw error;
    }
  },
);

export const FILE_TARGETS: readonly FuzzTargetKind[] = [journal, definitionFiles, definitionTexts, records];
