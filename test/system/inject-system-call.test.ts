import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type Test, test } from 'tap';
import { injectSystemCalls } from '../../agent/system/inject-system-call.js';
import { readThread } from '../../agent/system/process-status.js';
import { readProcessMemory } from '../../agent/system/system-calls.js';
import { TracedThread } from '../../agent/system/traced-thread.js';
import { REGISTER } from '../../agent/system/user-registers.js';
import { Program } from './child-process.js';

const SYS_CLOSE = 3;
const SYS_GETPID = 39;
const SYS_EXIT_GROUP = 231;
const EBADF = 9;
/** This runs in dist/, and C stays where it is written. */
const SOURCES = new URL('../../../test/system/', import.meta.url);

function ownPid(pid: number): number {
  return injectSystemCalls(pid, (call) => call(SYS_GETPID));
}

function stackPointer(pid: number): number {
  const thread = TracedThread.attach(pid, pid);
  try {
    return Number(thread.registers().readBigUInt64LE(REGISTER.rsp));
  } finally {
    thread.detach();
  }
}

/** Resolves once the thread is seen in that state. */
async function inState(pid: number, state: string): Promise<void> {
  while (readThread(pid, pid).state !== state) await new Promise(setImmediate);
}

/** A process with one thread that spins in user code and prints a line for each SIGUSR1. */
async function spinner(t: Test): Promise<Program> {
  const program = new Program(t, 'sh', '-c', 'trap "echo caught" USR1; echo spinning; while :; do :; done');
  await program.prints('spinning');
  return program;
}

void test('a thread that is blocked in a system call goes on with it', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  for (let i = 0; i < 50; i += 1) t.equal(ownPid(cat.pid), cat.pid);
  cat.type('still here\n');
  await cat.prints('still here\n');
});

void test('its stack is as it was, also below what is in use of it', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const below = (): Buffer => {
    const bytes = Buffer.alloc(2 ** 14);
    const top = stackPointer(cat.pid);
    t.equal(readProcessMemory(cat.pid, top - bytes.length, bytes), bytes.length);
    return bytes;
  };
  const before = below();
  t.equal(ownPid(cat.pid), cat.pid);
  t.ok(below().equals(before));
});

void test('a sleep that was interrupted goes on', async (t) => {
  const sleep = new Program(t, 'sleep', '0.2');
  await inState(sleep.pid, 'S');
  t.equal(ownPid(sleep.pid), sleep.pid);
  t.same(await sleep.ends(), [0, null]);
});

void test('a thread that runs in user code is sent to a system call and back', async (t) => {
  const program = await spinner(t);
  for (let i = 0; i < 50; i += 1) t.equal(ownPid(program.pid), program.pid);
  program.process.kill('SIGUSR1');
  await program.prints('caught');
});

void test('results and errors are those of the kernel', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const results = injectSystemCalls(cat.pid, (call) => [call(SYS_CLOSE, 12_345), call(SYS_GETPID)]);
  t.same(results, [-EBADF, cat.pid]);
});

void test('a signal that arrives meanwhile is delivered afterwards, once', async (t) => {
  const program = await spinner(t);
  injectSystemCalls(program.pid, (call) => {
    process.kill(program.pid, 'SIGUSR1');
    t.equal(call(SYS_GETPID), program.pid);
  });
  await program.prints('caught');
  process.kill(program.pid, 'SIGUSR1');
  await program.prints('caught\ncaught\n');
  t.equal(program.printed, 'spinning\ncaught\ncaught\n');
});

void test('a stopped process stays stopped', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  cat.process.kill('SIGSTOP');
  await inState(cat.pid, 'T');
  t.equal(ownPid(cat.pid), cat.pid);
  await inState(cat.pid, 'T');
  cat.process.kill('SIGCONT');
  cat.type('on\n');
  await cat.prints('on\n');
});

void test('a process that is stopped meanwhile stops afterwards', async (t) => {
  const program = await spinner(t);
  injectSystemCalls(program.pid, (call) => {
    process.kill(program.pid, 'SIGSTOP');
    t.equal(call(SYS_GETPID), program.pid);
  });
  await inState(program.pid, 'T');
  program.process.kill('SIGCONT');
  program.process.kill('SIGUSR1');
  await program.prints('caught');
});

void test('a process that dies meanwhile is an error, and its parent learns of its end', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const ended = cat.ends();
  const inject = (): unknown =>
    injectSystemCalls(cat.pid, (call) => {
      process.kill(cat.pid, 'SIGKILL');
      return call(SYS_GETPID);
    });
  t.throws(inject, { code: 'tracking-failed', message: `process ${cat.pid}: it has ended` });
  t.same(await ended, [null, 'SIGKILL']);
  t.throws(() => ownPid(cat.pid), { code: 'tracking-failed', message: 'it has ended' });
});

void test('the end of a process with threads is told, whenever it comes', async (t) => {
  // How soon after the call its threads have ended is left to chance.
  for (let i = 0; i < 10; i += 1) {
    const threads = new Program(t, process.execPath, '-e', 'setInterval(() => {}, 1e6); console.log("up")');
    await threads.prints('up');
    const ended = threads.ends();
    const inject = (): unknown => injectSystemCalls(threads.pid, (call) => call(SYS_EXIT_GROUP));
    t.throws(inject, { code: 'tracking-failed', message: `process ${threads.pid}: it has ended` });
    t.same(await ended, [0, null]);
  }
});

void test('the parent of a process that dies meanwhile learns of that, too', async (t) => {
  const shell = new Program(t, 'sh', '-c', 'sleep 1000 & echo $!; wait; echo reaped');
  await shell.prints('\n');
  const pid = Number(shell.printed);
  await inState(pid, 'S');
  const inject = (): unknown =>
    injectSystemCalls(pid, (call) => {
      process.kill(pid, 'SIGKILL');
      return call(SYS_GETPID);
    });
  t.throws(inject, { code: 'tracking-failed', message: 'it has ended' });
  await shell.prints('reaped');
});

void test('a process that sleeps where nothing wakes it is refused, and runs on', async (t) => {
  // The parent of a vfork waits so for its child.
  const program = new Program(t, 'tcc', '-run', new URL('deep-sleeper.c', SOURCES).pathname);
  await program.prints('asleep');
  await inState(program.pid, 'D');
  t.throws(() => ownPid(program.pid), { code: 'tracking-failed', message: 'they sleep in the kernel' });
  program.type('\n');
  await program.prints('awake');
  await inState(program.pid, 'S');
  t.equal(ownPid(program.pid), program.pid);
});

void test('what the caller throws is passed on, and the process runs on', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const fail = (): never => {
    throw new Error('of the caller');
  };
  t.throws(() => injectSystemCalls(cat.pid, fail), { message: 'of the caller' });
  cat.type('alive\n');
  await cat.prints('alive\n');
});

void test('a process that somebody else traces is refused, with the name of that', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const tracer = fork(new URL('tracer.js', import.meta.url), [String(cat.pid)]);
  t.teardown(() => tracer.kill('SIGKILL'));
  await once(tracer, 'message');
  t.throws(() => ownPid(cat.pid), { code: 'tracking-failed', message: `by process ${tracer.pid}` });
  tracer.kill('SIGKILL');
  await once(tracer, 'exit');
  t.equal(ownPid(cat.pid), cat.pid);
});

void test('a process of another user is refused to an agent without the capability', async (t) => {
  const cat = new Program(t, 'cat');
  await inState(cat.pid, 'S');
  const unprivileged = fork(new URL('tracer.js', import.meta.url), [String(cat.pid), '65534'], {
    // It could not write its coverage.
    env: { ...process.env, NODE_V8_COVERAGE: '' },
  });
  const [message] = (await once(unprivileged, 'message')) as [string];
  t.match(message, /CAP_SYS_PTRACE/);
  cat.type('alive\n');
  await cat.prints('alive\n');
});

void test('QEMU with filtered system calls, 50 times in a row: it answers, and no end of it is reported', async (t) => {
  const args = [
    '-display',
    'none',
    '-nodefaults',
    '-no-user-config',
    '-S',
    '-sandbox',
    'on',
    '-qmp',
    'stdio',
  ];
  const qemu = new Program(t, 'qemu-system-x86_64', ...args);
  await qemu.prints('QMP');
  let ended = false;
  qemu.process.once('exit', () => (ended = true));
  for (let i = 0; i < 50; i += 1) {
    t.equal(ownPid(qemu.pid), qemu.pid);
    await new Promise(setImmediate);
  }
  qemu.type('{"execute":"qmp_capabilities"}\n');
  await qemu.prints('"return": {}');
  t.equal(ended, false);
});
