import { test } from 'tap';
import { readThread, threadsOf } from '../../agent/system/process-status.js';
import { withProcessStopped } from '../../agent/system/stop-process.js';
import { Program } from './child-process.js';

/** A node with its threads; what is typed, it prints. */
const ECHO = 'console.log("started"); process.stdin.pipe(process.stdout)';

void test('all threads stand still meanwhile, and go on afterwards', async (t) => {
  const program = new Program(t, process.execPath, '-e', ECHO);
  await program.prints('started');
  for (let i = 0; i < 20; i += 1) {
    const states = withProcessStopped(program.pid, () =>
      threadsOf(program.pid).map((tid) => readThread(program.pid, tid).state),
    );
    t.ok(states.length > 1);
    t.ok(states.every((state) => state === 't'));
    program.type(`round ${i};`);
    await program.prints(`round ${i};`);
  }
});

void test('they go on when the caller throws', async (t) => {
  const program = new Program(t, process.execPath, '-e', ECHO);
  await program.prints('started');
  const fail = (): never => {
    throw new Error('of the caller');
  };
  t.throws(() => withProcessStopped(program.pid, fail), { message: 'of the caller' });
  program.type('alive');
  await program.prints('alive');
});

void test('a process that is killed meanwhile ends, and so its parent is told', async (t) => {
  const program = new Program(t, process.execPath, '-e', ECHO);
  await program.prints('started');
  const ended = program.ends();
  withProcessStopped(program.pid, () => process.kill(program.pid, 'SIGKILL'));
  t.same(await ended, [null, 'SIGKILL']);
  t.throws(() => withProcessStopped(program.pid, () => undefined), {
    code: 'tracking-failed',
    message: 'has ended',
  });
});
