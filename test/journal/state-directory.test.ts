import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
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

void t.test('it is kept from agents of other network namespaces, too', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  // What such an agent does, whose abstract sockets are others.
  const takes = () => spawnSync('flock', ['--nonblock', '--exclusive', base, 'true']).status === 0;
  t.ok(takes());
  const lock = await lockStateDirectory(base);
  t.notOk(takes());
  await lock.release();
  t.ok(takes());
});

void t.test("it is its agent's user's alone", async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const directory = join(base, 'a');
  await (await lockStateDirectory(directory)).release();
  t.equal((await stat(directory)).mode & 0o777, 0o700);
  for (const mode of [0o770, 0o707, 0o1777]) {
    await chmod(directory, mode);
    const refused = lockStateDirectory(directory);
    await t.rejects(refused, { code: 'invalid-request', message: /others may write .*chmod go-w/ });
  }
  await chmod(directory, 0o755);
  await (await lockStateDirectory(directory)).release();
});

void t.test(
  'one of somebody else is refused',
  { skip: process.getuid!() !== 0 && 'only root can give one away' },
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
    t.teardown(() => rm(base, { recursive: true, force: true }));
    await chown(base, 65534, 65534);
    await t.rejects(lockStateDirectory(base), {
      code: 'invalid-request',
      message: /belongs to user 65534.*chown 0/,
    });
  },
);
