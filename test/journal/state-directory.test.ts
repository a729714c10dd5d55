import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { lockStateDirectory } from '../../agent/journal/state-directory.js';

void t.test('a state directory belongs to one agent at a time', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const directory = join(base, 'a');
  const lock = await lockStateDirectory(directory);
  await t.rejects(lockStateDirectory(directory), { code: 'wrong-state', message: /another agent/ });
  await symlink(directory, join(base, 'alias'));
  await t.rejects(lockStateDirectory(join(base, 'alias')), { code: 'wrong-state' }, 'also by another name');
  const other = await lockStateDirectory(join(base, 'b'));
  await other.release();
  await lock.release();
  const again = await lockStateDirectory(directory);
  await again.release();
  await writeFile(join(base, 'file'), '');
  await t.rejects(lockStateDirectory(join(base, 'file')), { code: 'invalid-request', message: /file/ });
});
