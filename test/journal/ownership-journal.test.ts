import { writeFileSync } from 'node:fs';
import { mkdtemp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  type Decision,
  type JournalEntry,
  journalText,
  MAX_ABORTED_ENTRIES,
  MAX_JOURNAL_ENTRIES,
  OwnershipJournal,
} from '../../agent/journal/ownership-journal.js';
import { failingDisk } from '../support/synced-directories.js';

const ID = 'm-00000001';

async function emptyDirectory(test: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-journal-'));
  test.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function entry(decision: Decision, migration = ID): JournalEntry {
  return { migration, decision, vm: 'vm', peer: 'a', at: '2026-01-02T03:04:05.000Z' };
}

/** Takes the directory away: the next write fails, whoever runs the tests. */
async function breakDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true });
  await writeFile(directory, 'in the way');
}

async function mendDirectory(directory: string): Promise<void> {
  await rm(directory);
  await mkdir(directory);
}

void t.test('the first decision holds', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  t.equal(await journal.decide(entry('aborted')), 'aborted');
  t.equal(await journal.decide(entry('committed')), 'aborted');
  t.strictSame(journal.get(ID), entry('aborted'));
  t.equal(await readFile(join(directory, `${ID}.json`), 'utf8'), journalText(entry('aborted')));
});

void t.test('of many at once one is the first, and all are told which', async (t) => {
  const journal = await OwnershipJournal.open(await emptyDirectory(t));
  const asked: Decision[] = ['committed', 'aborted', 'committed', 'aborted', 'aborted'];
  const answers = await Promise.all(asked.map((decision) => journal.decide(entry(decision))));
  t.strictSame(
    answers,
    asked.map(() => 'committed'),
  );
  t.equal(journal.get(ID)?.decision, 'committed');
});

void t.test('when the first of many cannot be written, exactly one of the others is the first', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  await breakDirectory(directory);
  const failing = journal.decide(entry('committed'));
  const others = (['aborted', 'committed', 'aborted'] as const).map(async (decision) => {
    // each in turn finds the directory mended by the failure of the one before
    await failing.catch(() => undefined);
    return await journal.decide(entry(decision));
  });
  const answered = Promise.allSettled(others);
  await t.rejects(
    failing.finally(() => mendDirectory(directory)),
    { code: 'internal' },
  );
  const answers = await answered;
  const told = new Set(answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : [])));
  t.ok(told.size <= 1, 'nobody is told another decision');
  const decision = journal.get(ID)?.decision;
  if (told.size === 1) t.strictSame([...told], [decision]);
  t.equal((await OwnershipJournal.open(directory)).get(ID)?.decision, decision);
});

void t.test('what is staged counts once it is decided, and is gone where it is not', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  await journal.stage(entry('committed'));
  t.equal(journal.get(ID), undefined);
  t.strictSame((await readdir(directory)).length, 1);
  t.equal(await journal.decide(entry('committed')), 'committed');
  t.strictSame(await readdir(directory), [`${ID}.json`]);
  t.equal((await OwnershipJournal.open(directory)).get(ID)?.decision, 'committed');
  await journal.forget(ID);

  await journal.stage(entry('committed'));
  t.equal(await journal.decide(entry('aborted')), 'aborted', 'another decision than the staged one');
  t.equal((await OwnershipJournal.open(directory)).get(ID)?.decision, 'aborted');
  await journal.unstage(ID);
  t.equal(journal.get(ID)?.decision, 'aborted');
  await journal.forget(ID);

  await journal.stage(entry('commit-sent'));
  await journal.unstage(ID);
  await journal.unstage(ID);
  t.strictSame(await readdir(directory), []);
});

void t.test('decisions about different migrations do not wait for each other', async (t) => {
  const journal = await OwnershipJournal.open(await emptyDirectory(t));
  const ids = Array.from({ length: 20 }, (_, index) => `m-${String(index).padStart(8, '0')}`);
  await Promise.all(ids.map((id) => journal.decide(entry('committed', id))));
  t.strictSame(
    journal
      .entries()
      .map(({ migration }) => migration)
      .sort(),
    ids,
  );
});

void t.test('what was decided is there after a restart', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  await journal.decide(entry('commit-sent'));
  await journal.decide(entry('aborted', 'm-00000002'));
  const reopened = await OwnershipJournal.open(directory);
  t.strictSame(reopened.get(ID), entry('commit-sent'));
  t.strictSame(reopened.get('m-00000002'), entry('aborted', 'm-00000002'));
  t.equal(await reopened.decide(entry('committed')), 'commit-sent');
});

void t.test('nobody but the agent may read it', async (t) => {
  const directory = join(await emptyDirectory(t), 'journal');
  const journal = await OwnershipJournal.open(directory);
  await journal.decide(entry('committed'));
  t.equal((await stat(directory)).mode & 0o777, 0o700);
  t.equal((await stat(join(directory, `${ID}.json`))).mode & 0o777, 0o600);
});

void t.test('a write that fails leaves nothing on record, and may be tried again', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  await breakDirectory(directory);
  await t.rejects(journal.decide(entry('committed')), {
    code: 'internal',
    message: new RegExp(`${ID}.json`),
  });
  t.equal(journal.get(ID), undefined);
  await mendDirectory(directory);
  t.strictSame(await readdir(directory), []);
  t.equal(await journal.decide(entry('aborted')), 'aborted');
});

void t.test('a decision whose write fails when it may be on the disk', async (t) => {
  const failing = async (t: Test, decision: Decision = 'committed') => {
    const directory = await emptyDirectory(t);
    const journal = await OwnershipJournal.open(directory);
    const disk = failingDisk(t, directory);
    disk.syncs = Infinity;
    disk.remove = true;
    await journal.stage(entry(decision));
    await t.rejects(journal.decide(entry(decision)), { code: 'internal', message: new RegExp(`${ID}.json`) });
    t.equal(journal.get(ID), undefined);
    const read = async () => {
      const well = { ...disk };
      Object.assign(disk, { syncs: 0, remove: false });
      const found = (await OwnershipJournal.open(directory)).get(ID)?.decision;
      Object.assign(disk, well);
      return found;
    };
    return { journal, disk, directory, read };
  };

  await t.test('is uncertain until another one is durable in its place', async (t) => {
    const { journal, disk, read } = await failing(t);
    t.strictSame(journal.uncertain(ID), entry('committed'));
    t.equal(await read(), 'committed', 'which is what a restart would find');
    await t.rejects(journal.decide(entry('aborted')), { code: 'internal' });
    t.strictSame(journal.uncertain(ID), entry('committed'), 'as the sync says nothing of either');
    disk.syncs = 0;
    t.equal(await journal.decide(entry('aborted')), 'aborted');
    t.equal(journal.uncertain(ID), undefined);
    t.equal(await read(), 'aborted');
  });
  await t.test('or the same one is', async (t) => {
    const { journal, disk, read } = await failing(t);
    disk.syncs = 0;
    t.equal(await journal.decide(entry('committed')), 'committed');
    t.equal(journal.uncertain(ID), undefined);
    t.equal(await read(), 'committed');
  });
  await t.test('or it is removed, also where nothing else can be written', async (t) => {
    const { journal, disk, directory, read } = await failing(t);
    disk.syncs = 0;
    disk.remove = false;
    // in the way of the next one
    await mkdir(join(directory, `${ID}.json.staged`));
    await t.rejects(journal.decide(entry('aborted')), { code: 'internal' });
    t.equal(journal.uncertain(ID), undefined);
    await rm(join(directory, `${ID}.json.staged`), { recursive: true });
    t.equal(await read(), undefined);
  });
  await t.test('and removed without a sync it is not gone for certain', async (t) => {
    const { journal, disk, read } = await failing(t);
    disk.remove = false;
    await t.rejects(journal.decide(entry('aborted')), { code: 'internal' });
    t.strictSame(journal.uncertain(ID), entry('committed'));
    disk.syncs = 0;
    await journal.forget(ID);
    t.equal(journal.uncertain(ID), undefined);
    t.equal(await read(), undefined);
  });
  await t.test('is certain where it was removed at once, or never had its name', async (t) => {
    const directory = await emptyDirectory(t);
    const journal = await OwnershipJournal.open(directory);
    const disk = failingDisk(t, directory);
    disk.syncs = 1;
    await t.rejects(journal.decide(entry('committed')), { code: 'internal' });
    t.equal(journal.uncertain(ID), undefined);
    t.strictSame(await readdir(directory), []);
    await mkdir(join(directory, `${ID}.json`));
    disk.remove = true;
    await t.rejects(journal.decide(entry('committed')), { code: 'internal' });
    t.equal(journal.uncertain(ID), undefined);
  });
  await t.test('makes no difference where it is that the migration was aborted', async (t) => {
    const { journal } = await failing(t, 'aborted');
    t.equal(journal.uncertain(ID), undefined);
  });
  await t.test('the journal is not read before what it says is made to last', async (t) => {
    const { disk, directory } = await failing(t);
    await t.rejects(OwnershipJournal.open(directory), { code: 'internal', message: /mend that disk/ });
    disk.syncs = 0;
    t.equal((await OwnershipJournal.open(directory)).get(ID)?.decision, 'committed');
  });
});

void t.test('what became of an outcome that was not known', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  const disk = failingDisk(t, directory);
  const read = async () => (await OwnershipJournal.open(directory)).get(ID)?.decision;
  await journal.decide(entry('commit-sent'));

  await t.test('does not turn up after a restart where it is not certain', async (t) => {
    disk.syncs = 1;
    await t.rejects(journal.supersede(ID, 'taken-back'), { code: 'internal', message: new RegExp(ID) });
    t.equal(journal.get(ID)?.decision, 'commit-sent');
    t.equal(await read(), 'commit-sent');
  });
  await t.test('takes its place, once', async (t) => {
    await journal.supersede(ID, 'taken-back');
    t.equal(journal.get(ID)?.decision, 'taken-back');
    t.equal(await read(), 'taken-back');
    await t.rejects(journal.supersede(ID, 'released'), { code: 'internal', message: 'is taken-back' });
  });
});

void t.test('forgetting', async (t) => {
  const directory = await emptyDirectory(t);
  const journal = await OwnershipJournal.open(directory);
  await journal.decide(entry('commit-sent'));
  await journal.forget(ID);
  await journal.forget(ID);
  t.equal(journal.get(ID), undefined);
  t.strictSame(await readdir(directory), []);

  await t.test('at once with a decision: the later of the two wins, on disk as in memory', async (t) => {
    await journal.decide(entry('commit-sent'));
    await Promise.all([journal.forget(ID), journal.decide(entry('committed'))]);
    t.equal(journal.get(ID)?.decision, 'committed');
    t.equal((await OwnershipJournal.open(directory)).get(ID)?.decision, 'committed');
  });
  await t.test('that fails: it is still on record', async (t) => {
    await breakDirectory(directory);
    await t.rejects(journal.forget(ID), { code: 'internal', message: new RegExp(`${ID}.json`) });
    t.equal(journal.get(ID)?.decision, 'committed');
  });
});

void t.test('of the aborted ones the oldest go, also after a restart; others stay', async (t) => {
  const directory = await emptyDirectory(t);
  const idOf = (n: number) => `m-${String(n).padStart(8, '0')}`;
  const at = (n: number) => new Date(Date.UTC(2026, 0, 2) + n * 1000).toISOString();
  await writeFile(join(directory, `${idOf(1)}.json`), journalText(entry('committed', idOf(1))));
  // a name order that is not that of time
  for (let n = 2; n < MAX_ABORTED_ENTRIES + 5; n += 1) {
    const id = idOf(10_000 - n);
    await writeFile(join(directory, `${id}.json`), journalText({ ...entry('aborted', id), at: at(n) }));
  }
  const journal = await OwnershipJournal.open(directory);
  await journal.decide({ ...entry('aborted', idOf(20_000)), at: at(9999) });
  const aborted = () => journal.entries().filter(({ decision }) => decision === 'aborted').length;
  // in their turn behind those
  for (let n = 2; n < 6; n += 1) await journal.forget(idOf(10_000 - n));
  t.equal(aborted(), MAX_ABORTED_ENTRIES);
  t.equal(journal.get(idOf(10_000 - 2)), undefined);
  t.ok(journal.get(idOf(10_000 - 6)));
  t.ok(journal.get(idOf(20_000)));
  t.ok(journal.get(idOf(1)), 'what was committed stays');
  t.equal((await readdir(directory)).length, MAX_ABORTED_ENTRIES + 1);
});

void t.test('a full journal lets no further migration begin', async (t) => {
  const directory = await emptyDirectory(t);
  for (let n = 0; n < MAX_JOURNAL_ENTRIES; n += 1) {
    const id = `m-${String(n).padStart(8, '0')}`;
    writeFileSync(join(directory, `${id}.json`), journalText(entry('committed', id)));
  }
  const journal = await OwnershipJournal.open(directory);
  await t.rejects(journal.stage(entry('committed', 'm-10000000')), { code: 'limit-exceeded' });
  await journal.forget('m-00000007');
  await journal.stage(entry('committed', 'm-10000000'));
});

void t.test('what is not readable is refused by name, never guessed at', async (t) => {
  const whole = journalText(entry('committed')).trim();
  const bad: Record<string, [file: string, content: string]> = {
    'no JSON': [`${ID}.json`, 'committed'],
    empty: [`${ID}.json`, ''],
    zeros: [`${ID}.json`, '\0'.repeat(100)],
    'another shape': [`${ID}.json`, '[1]'],
    'another name of the VM': [`${ID}.json`, whole.replace('"vm":"vm"', '"vm":"wm"')],
    'another decision': [`${ID}.json`, whole.replace('committed', 'aborted')],
    'an unknown decision': [`${ID}.json`, whole.replace('committed', 'maybe')],
    'a field too many': [`${ID}.json`, whole.replace('{', '{"more":1,')],
    'of another migration': ['m-00000002.json', whole],
    'with a name that is no id': ['notes.json', whole],
  };
  for (let end = 1; end < whole.length; end += 1) bad[`cut at ${end}`] = [`${ID}.json`, whole.slice(0, end)];
  for (const [what, [file, content]] of Object.entries(bad)) {
    const directory = await emptyDirectory(t);
    await writeFile(join(directory, file), content);
    await t.rejects(
      OwnershipJournal.open(directory),
      { code: 'internal', message: new RegExp(`${file}.*move it away`) },
      what,
    );
  }
  await t.test('a directory in the place of an entry', async (t) => {
    const directory = await emptyDirectory(t);
    await mkdir(join(directory, `${ID}.json`));
    await t.rejects(OwnershipJournal.open(directory), { code: 'internal', message: /can't be read/ });
  });
});

void t.test(
  'what a crash left of a write that was not finished is cleared away; other files are let be',
  async (t) => {
    const directory = await emptyDirectory(t);
    await writeFile(join(directory, `${ID}.json.staged`), '{"migr');
    await writeFile(join(directory, `${ID}.json.bak`), 'moved away by hand');
    const journal = await OwnershipJournal.open(directory);
    t.strictSame(journal.entries(), []);
    t.strictSame(await readdir(directory), [`${ID}.json.bak`]);
  },
);
