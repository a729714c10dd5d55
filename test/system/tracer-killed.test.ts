import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type Test, test } from 'tap';
import { readThread, threadsOf } from '../../agent/system/process-status.js';
import { TracedThread } from '../../agent/system/traced-thread.js';
import { Program } from './child-process.js';

/** Runs dying-tracer.js against a process: how many requests it made, or the signal that ended it. */
async function trace(pid: number, last = 0): Promise<number | NodeJS.Signals> {
  const tracer = fork(new URL('dying-tracer.js', import.meta.url), [String(pid), String(last)], {
    env: { ...process.env, NODE_V8_COVERAGE: '' },
  });
  const told = once(tracer, 'message').then(([requests]) => requests as number);
  const ended = once(tracer, 'exit').then(([, signal]) => signal as NodeJS.Signals);
  return Promise.race([told, ended]);
}

/** Calls `around` once for each request that a tracer makes, with what runs one that is killed after that. */
async function killedAtEach(
  t: Test,
  pid: number,
  around: (runTracer: () => Promise<void>, last: number) => Promise<void>,
): Promise<void> {
  const requests = await trace(pid);
  if (typeof requests !== 'number') throw new Error(`the tracer ended by ${requests}`);
  t.ok(requests > 10, `${requests} requests`);
  for (let last = 1; last <= requests; last += 1) {
    await around(async () => {
      t.equal(await trace(pid, last), 'SIGKILL', `killed after request ${last}`);
    }, last);
  }
}

/** Registers, signal mask and vector registers of a thread that waits in a system call. */
async function stateOf(pid: number): Promise<Record<string, string>> {
  while (readThread(pid, pid).state !== 'S') await new Promise(setImmediate);
  const thread = TracedThread.attach(pid, pid);
  try {
    const state = {
      registers: thread.registers(),
      signalMask: thread.signalMask(),
      extendedState: thread.extendedState(),
    };
    return Object.fromEntries(Object.entries(state).map(([name, bytes]) => [name, bytes.toString('hex')]));
  } finally {
    thread.detach();
  }
}

void test('a thread that waits in a system call is in it again, whenever its tracer is killed', async (t) => {
  const cat = new Program(t, 'cat');
  await killedAtEach(t, cat.pid, async (runTracer, last) => {
    const before = await stateOf(cat.pid);
    await runTracer();
    t.same(await stateOf(cat.pid), before);
    cat.type(`line ${last}\n`);
    await cat.prints(`line ${last}\n`);
  });
});

void test('a program that computes gets on as if nothing had been, whenever its tracer is killed', async (t) => {
  const program = new Program(t, 'sha256sum');
  const own = createHash('sha256');
  const chunk = Buffer.alloc(2 ** 20, 'vmferry');
  let over = false;
  const feed = async (): Promise<void> => {
    while (!over) {
      own.update(chunk);
      if (!program.process.stdin!.write(chunk)) await once(program.process.stdin!, 'drain');
    }
    program.process.stdin!.end();
  };
  const fed = feed();
  await killedAtEach(t, program.pid, (runTracer) => runTracer());
  over = true;
  await fed;
  await program.prints('\n');
  t.equal(program.printed, `${own.digest('hex')}  -\n`);
});

void test('a shell that waits for its children is told of signals, whenever its tracer is killed', async (t) => {
  const shell = new Program(
    t,
    'sh',
    '-c',
    'trap "echo caught" USR1; sleep 1000 >&- & echo $!; while :; do wait; done',
  );
  await shell.prints('\n');
  const child = Number(shell.printed);
  t.teardown(() => process.kill(child));
  await killedAtEach(t, shell.pid, async (runTracer, last) => {
    await runTracer();
    shell.process.kill('SIGUSR1');
    while (shell.printed.split('caught').length <= last) await once(shell.process.stdout!, 'data');
  });
});

void test('QEMU answers, with the signals that its threads had blocked, whenever its tracer is killed', async (t) => {
  const args = ['-display', 'none', '-nodefaults', '-no-user-config', '-sandbox', 'on', '-qmp', 'stdio'];
  const qemu = new Program(t, 'qemu-system-x86_64', ...args);
  await qemu.prints('QMP');
  qemu.type('{"execute":"qmp_capabilities"}\n');
  await qemu.prints('"return": {}');
  const before = blockedSignals(qemu.pid);
  await killedAtEach(t, qemu.pid, async (runTracer, last) => {
    await runTracer();
    for (const command of ['stop', 'cont']) {
      qemu.type(`{"execute":"${command}","id":"${command} ${last}"}\n`);
      await qemu.prints(`"id": "${command} ${last}"`);
    }
    // The end of the tracer is told before the thread has run on.
    while (blockedSignals(qemu.pid) !== before) await new Promise(setImmediate);
  });
});

/** Of each thread, as the kernel tells them. */
function blockedSignals(pid: number): string {
  const statusOf = (tid: number): string => readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8');
  return threadsOf(pid)
    .map((tid) => `${tid} ${/^SigBlk:\t(.*)$/m.exec(statusOf(tid))![1]}`)
    .join();
}
