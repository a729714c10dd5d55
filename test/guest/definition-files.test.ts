import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import { definitionOf } from '../support/array-guest.js';
import { recordSyncedDirectories } from '../support/synced-directories.js';

const MIGRATION = 'm-00000001';

async function openFiles(t: Test) {
  const state = await mkdtemp(join(tmpdir(), 'vmferry-definitions-'));
  t.teardown(() => rm(state, { recursive: true, force: true }));
  const synced = recordSyncedDirectories(t);
  const directory = join(state, 'guests');
  const files = new DefinitionFiles(directory);
  await files.load();
  return { state, directory, files, synced };
}

void t.test('what is defined or removed lasts when it is done', async (t) => {
  const { state, directory, files, synced } = await openFiles(t);
  t.strictSame(synced, [{ path: state, entries: ['guests'] }], 'the directory itself');
  await files.save({ definition: definitionOf('web'), image: Buffer.from('elf') });
  t.strictSame(synced.at(-1), { path: directory, entries: ['web.elf', 'web.json'] });
  await files.remove('web');
  t.strictSame(synced.at(-1), { path: directory, entries: [] });
});

void t.test('what is staged lasts before there is anything to commit', async (t) => {
  const { directory, files, synced } = await openFiles(t);
  await files.stage(MIGRATION, definitionOf('web'));
  const arrivals = join(directory, 'arriving');
  const arrival = join(arrivals, MIGRATION);
  const lasting = (path: string) => synced.filter((each) => each.path === path).at(-1)?.entries;
  t.strictSame(lasting(directory), ['arriving']);
  t.strictSame(lasting(arrivals), [MIGRATION]);
  t.strictSame(lasting(arrival), ['web.json']);
  await files.stageImage(MIGRATION, 'web', Buffer.from('elf'));
  t.strictSame(lasting(arrival), ['web.elf', 'web.json']);
  await files.promote(MIGRATION, 'web');
  t.strictSame(lasting(directory), ['arriving', 'web.elf', 'web.json']);
});

void t.test('the image of an earlier VM is not taken for that of a later one without', async (t) => {
  const { directory, files } = await openFiles(t);
  await files.save({ definition: definitionOf('web'), image: Buffer.from('elf') });
  await rm(join(directory, 'web.json'));
  await files.save({ definition: definitionOf('web'), image: undefined });
  t.strictSame(await readdir(directory), ['web.json']);
});
