import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { makeSyncedDirectory } from '../../agent/system/synced-directory.js';

void test('directories that are made at the same time below one that is not there yet', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-synced-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const names = Array.from({ length: 8 }, (_, index) => `m-${index}`);
  // Who comes when is left to chance.
  for (let round = 0; round < 20; round += 1) {
    const parent = join(base, String(round), 'arriving');
    await Promise.all(names.map((name) => makeSyncedDirectory(join(parent, name))));
    t.same(await readdir(parent), names);
  }
});

void test('where there can be none', async (t) => {
  await t.rejects(makeSyncedDirectory('/proc/vmferry'), {
    message: "/proc/vmferry can't be written: ENOENT",
  });
  await t.rejects(makeSyncedDirectory('/proc/self/comm/vmferry'), { message: 'ENOTDIR' });
});
