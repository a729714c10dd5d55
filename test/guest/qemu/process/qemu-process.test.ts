import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { identifyProcess, isAlive } from '../../../../agent/guest/qemu/process/process-identity.js';
import { QemuProcess } from '../../../../agent/guest/qemu/process/qemu-process.js';

/** Any program will do: what is tested is that of processes. */
const SHELL = '/bin/sh';

void test('tells how a process ended, and keeps what it said', async (t) => {
  const log = join(t.testdir(), 'log');
  const ended = await QemuProcess.start(SHELL, ['-c', 'echo out; echo err >&2; exit 3'], log);
  t.equal(await ended.ended, 'ended with exit code 3');
  t.notOk(ended.alive);
  t.equal(await readFile(log, 'utf8'), 'out\nerr\n');
  const killed = await QemuProcess.start(SHELL, ['-c', 'kill -9 $$'], log);
  t.equal(await killed.ended, 'was ended by SIGKILL');
  await killed.terminate();
});

void test('a program that does not exist', async (t) => {
  const start = QemuProcess.start('/nowhere/qemu', [], join(t.testdir(), 'log'));
  await t.rejects(start, {
    code: 'guest-failed',
    message: /\/nowhere\/qemu can't be started: .*; install QEMU or set/,
  });
});

void test('one in a unit of its own is started through a socket, and its end is noticed', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-unit-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const [path, log] = [join(directory, 'socket'), join(directory, 'log')];
  // As systemd does it for deploy/systemd/vmferry-guest.socket.
  const accepting = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    spawn('deploy/systemd/run-guest', { stdio: [socket, socket, 'ignore'], detached: true });
    socket.destroy();
  }).listen(path);
  await once(accepting, 'listening');
  const unit = await QemuProcess.startInUnit(path, SHELL, ['-c', 'exec sleep 1000'], log);
  t.ok(unit.alive);
  t.notOk(await unit.watch(0));
  await unit.terminate();
  t.equal(await unit.ended, 'ended');

  const words = ['-c', 'echo "$@"', 'sh', 'two words', '', "quote's"];
  const brief = await QemuProcess.startInUnit(path, SHELL, words, log);
  t.equal(await brief.ended, 'ended');
  t.notOk(brief.alive);
  t.equal(await readFile(log, 'utf8'), "two words  quote's\n");
  const missing = await QemuProcess.startInUnit(path, '/nowhere/qemu', [], log);
  t.equal(await missing.ended, 'ended');
  t.match(await readFile(log, 'utf8'), '/nowhere/qemu: No such file');

  accepting.close();
  await once(accepting, 'close');
  await t.rejects(QemuProcess.startInUnit(path, SHELL, [], log), {
    code: 'guest-failed',
    message: /no QEMU can be started through .*; 'systemctl start vmferry-guest\.socket'/,
  });
  const mute = createServer((socket) => socket.end()).listen(path);
  await once(mute, 'listening');
  await t.rejects(QemuProcess.startInUnit(path, SHELL, [], log), { message: /ended without an answer/ });
  mute.close();
});

void test('one that lives is ended, by force if need be', async (t) => {
  const log = join(t.testdir(), 'log');
  const polite = await QemuProcess.start(SHELL, ['-c', 'echo ready; exec sleep 1000'], log);
  t.ok(polite.alive);
  t.notOk(await polite.watch(0));
  await polite.terminate();
  t.equal(await polite.ended, 'was ended by SIGTERM');
  await polite.terminate();
});

void test('one that was found is ended, though it is no child', async (t) => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  const found = QemuProcess.found(identifyProcess(child.pid!)!);
  t.ok(found.alive);
  await found.terminate();
  t.equal(await found.ended, 'ended');
  t.notOk(found.alive);
  await exit;
});

void test('one whose end is kept back is not waited for longer than asked', async (t) => {
  const held = await QemuProcess.start(SHELL, ['-c', 'exec sleep 1000'], join(t.testdir(), 'log'));
  const tracer = fork(new URL('../../../system/tracer.js', import.meta.url), [String(held.pid)]);
  t.teardown(() => tracer.kill('SIGKILL'));
  await once(tracer, 'message');
  process.kill(held.pid, 'SIGKILL');
  while (held.alive) await new Promise(setImmediate);
  t.notOk(await held.watch(0), 'its tracer has not taken note of it');
  tracer.kill('SIGKILL');
  t.equal(await held.ended, 'was ended by SIGKILL');
});

void test('a pid that belongs to another process by now is neither taken for it nor ended', async (t) => {
  const identity = identifyProcess(process.pid)!;
  t.ok(isAlive(identity));
  for (const other of [{ startTime: '1' }, { bootId: 'another boot' }]) {
    t.notOk(isAlive({ ...identity, ...other }));
    await QemuProcess.found({ ...identity, ...other }).terminate();
  }
  t.ok(isAlive(identity), 'still here');
});

void test('a name with anything in it does not hide the fields after it', async (t) => {
  const child = spawn('cp', ['/bin/sleep', join(t.testdir(), 'a) R 1 (b')]);
  await once(child, 'exit');
  const odd = spawn(join(t.testdirName, 'a) R 1 (b'), ['1000']);
  await once(odd, 'spawn');
  t.teardown(() => odd.kill('SIGKILL'));
  const { startTime } = identifyProcess(process.pid)!;
  t.ok(Number(identifyProcess(odd.pid!)!.startTime) >= Number(startTime));
});
