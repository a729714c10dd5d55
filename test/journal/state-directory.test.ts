import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { chmod, chown, mkdtemp, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import { lockStateDirectory } from '../../agent/journal/state-directory.js';
import { NodeState } from '../../agent/node-state.js';
import { lockDirectory } from '../../agent/system/directory-lock.js';
import { AgentConfigSchema } from '../../shared/config.js';
import { cannotMount, mountSmallDisk, temporaryDirectory } from '../support/small-disk.js';

void t.test('a state directory belongs to one agent at a time', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const directory = join(base, 'a');
  const lock = await lockStateDirectory(directory);
  const holder = new RegExp(`^another agent \\(pid ${process.pid}\\) has .*: stop it, or give this one`);
  await t.rejects(lockStateDirectory(directory), { code: 'wrong-state', message: holder });
  await symlink(directory, join(base, 'alias'));
  await t.rejects(lockStateDirectory(join(base, 'alias')), { code: 'wrong-state' }, 'also by another name');
  const other = await lockStateDirectory(join(base, 'b'));
  other.release();
  lock.release();
  await writeFile(join(directory, 'drained.unfinished'), 'half of');
  await writeFile(join(directory, 'drained'), '');
  const again = await lockStateDirectory(directory);
  t.strictSame(await readdir(directory), ['drained'], 'what a killed agent was writing is removed');
  again.release();
  await writeFile(join(base, 'file'), '');
  await t.rejects(lockStateDirectory(join(base, 'file')), { code: 'invalid-request', message: /file/ });
});

for (const where of ['not in it', 'in it, as it is where none is named'] as const)
  void t.test(`so does a run directory that is ${where}`, async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
    t.teardown(() => rm(base, { recursive: true, force: true }));
    const named = where === 'not in it';
    const run = named ? join(base, 'run') : join(base, 'a', 'run');
    const config = (node: string) =>
      AgentConfigSchema.parse({
        ...{ node, listen: '127.0.0.1:0', stateDirectory: join(base, node) },
        ...((named || node !== 'a') && { runDirectory: run }),
      });
    const logger = pino({ level: 'silent' });
    const one = await NodeState.open(config('a'), logger);
    await t.rejects(NodeState.open(config('b'), logger), {
      code: 'wrong-state',
      message: `has the run directory ${run}: stop it, or give this one a directory of its own`,
      field: ['runDirectory'],
    });
    (await lockStateDirectory(join(base, 'b'))).release();
    await one.close();
    (await lockDirectory(run, 'run directory', ['runDirectory'])).release();
  });

void t.test('nobody else can take it by its name', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const name = createHash('sha256')
    .update(await realpath(base))
    .digest('hex');
  const squatter = createServer().listen(`\0vmferry-state-${name}`);
  await once(squatter, 'listening');
  (await lockStateDirectory(base)).release();
  squatter.close();
});

void t.test('it is kept from agents of other network namespaces, too', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  // What such an agent does, whose abstract sockets are others.
  const takes = () => spawnSync('flock', ['--nonblock', '--exclusive', base, 'true']).status === 0;
  t.ok(takes());
  const lock = await lockStateDirectory(base);
  t.notOk(takes());
  lock.release();
  t.ok(takes());
});

void t.test('where it can not be made or written to is told, with what to do', async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  await writeFile(join(base, 'file'), '');
  await symlink(join(base, 'nowhere'), join(base, 'dangling'));
  for (const [path, reason] of [
    ['/proc/x', 'what it should be in takes no directories; correct the path'],
    ['/proc/x/y', 'what it should be in takes no directories; correct the path'],
    [join(base, 'file'), 'something that is no directory is there; move that away'],
    [join(base, 'dangling'), 'something that is no directory is there; move that away'],
    [join(base, 'file', 'a'), 'something on the way to it is no directory; correct the path'],
    [join(base, 'x'.repeat(300)), 'ENAMETOOLONG: '],
  ] as const) {
    await t.rejects(lockStateDirectory(path), { code: 'invalid-request', field: ['stateDirectory'] }, path);
    const text = `the state directory ${path} can't be made: ${reason}`;
    await lockStateDirectory(path).catch((error: Error) =>
      t.equal(error.message.slice(0, text.length), text),
    );
  }
});

void t.test('one on a disk that is read-only or full', { skip: cannotMount }, async (t) => {
  const base = temporaryDirectory(t);
  const disk = join(base, 'disk');
  mountSmallDisk(t, disk, 64 * 1024);
  (await lockStateDirectory(disk)).release();
  execFileSync('mount', ['-o', 'remount,nr_inodes=1', disk]);
  await t.rejects(lockStateDirectory(join(disk, 'a')), {
    message: /can't be made: its file system is full; free room, or name/,
  });
  await t.rejects(OwnershipJournal.open(join(disk, 'journal')), {
    code: 'internal',
    message: /the directory .*journal can't be written: ENOSPC.*: free or mend that disk/,
  });
  execFileSync('mount', ['-o', 'remount,ro', disk]);
  await t.rejects(lockStateDirectory(disk), {
    message: /can't be written to: its file system is read-only; mount it writable, or name/,
  });
  await t.rejects(lockStateDirectory(join(disk, 'a')), {
    message: /can't be made: its file system is read-only/,
  });
});

void t.test("it is its agent's user's alone", async (t) => {
  const base = await mkdtemp(join(tmpdir(), 'vmferry-state-'));
  t.teardown(() => rm(base, { recursive: true, force: true }));
  const directory = join(base, 'a');
  (await lockStateDirectory(directory)).release();
  t.equal((await stat(directory)).mode & 0o777, 0o700);
  for (const mode of [0o770, 0o707, 0o1777]) {
    await chmod(directory, mode);
    const refused = lockStateDirectory(directory);
    await t.rejects(refused, { code: 'invalid-request', message: /others may write .*chmod go-w/ });
  }
  await chmod(directory, 0o755);
  (await lockStateDirectory(directory)).release();
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
