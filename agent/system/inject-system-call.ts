import { MigrationError } from '../../shared/errors.js';
import { isAlive, readStatus, readThread, threadsOf } from './process-status.js';
import { ThreadBusyError, ThreadGoneError, TracedThread } from './traced-thread.js';
import { REGISTER } from './user-registers.js';
import { type Call, layWayBack, StackFullError, type WayBack } from './way-back.js';

/** Code segment of 64-bit programs. */
const USER64_CS = 0x33;
const ALL_SIGNALS = Buffer.alloc(8, 0xff);
/** Of threads that can be stopped soon: sleeping, running, stopped already. */
const STATES = 'SRTt';
/** How many threads are tried that end or do not stop. */
const MAX_ATTEMPTS = 8;

/** Which filters of system calls the process has: `suspended` for the calls, or known to let them `pass`. */
export type FilterTreatment = 'suspended' | 'pass';

/** Runs a system call in the other process and returns what the kernel did: a negative errno on failure. */
export type InjectedCall = (...call: Call) => number;

/**
 * Stops one thread of another process, lets it make the system calls that `use` asks for, and lets it go on as if nothing
 * had been: what it was blocked in is restarted (but for epoll_wait(2) and its like, which the kernel ends by EINTR after any stop), and
 * signals that arrive meanwhile are delivered afterwards. x86-64 alone.
 *
 * The thread runs a `syscall` instruction that is in the memory of its process already, from entry to exit, with all
 * signals blocked; no instruction after it is executed. The calls must be such that return at once. Where this process is killed
 * meanwhile, the kernel lets the thread run on: it finishes the call that it is in and returns to where it was by a signal
 * frame on its stack; what its calls have made stays. It can't with a shadow stack, which a program must ask for, and filters
 * that were suspended are there again: they may end it for the call.
 *
 * Throws tracking-failed: other architecture, no privilege, another tracer, filtered system calls, process gone, none of
 * its threads stops, no code to make calls by. What `use` throws is passed on. All of it happens in one turn of the event
 * loop (see TracedThread).
 */
export function injectSystemCalls<T>(
  pid: number,
  use: (call: InjectedCall) => T,
  filters: FilterTreatment = 'suspended',
): T {
  if (process.arch !== 'x64') {
    throw new MigrationError(
      'tracking-failed',
      `system calls can be injected on x86-64 alone, not on ${process.arch}`,
    );
  }
  const tried = new Map<number, Error>();
  for (;;) {
    const thread = attachToOne(pid, tried);
    try {
      return injectInto(pid, thread, use, filters);
    } catch (error) {
      if (!(error instanceof ThreadGoneError || error instanceof StackFullError)) throw error;
      tried.set(thread.tid, error);
    }
  }
}

/** Stops the first thread that lets itself be stopped, of those that were not `tried`; adds to these, with what was wrong with each. */
function attachToOne(pid: number, tried: Map<number, Error>): TracedThread {
  for (const tid of candidates(pid)) {
    if (tried.size >= MAX_ATTEMPTS) break;
    if (tried.has(tid)) continue;
    try {
      return TracedThread.attach(pid, tid);
    } catch (error) {
      if (!(error instanceof ThreadBusyError || error instanceof ThreadGoneError)) throw error;
      tried.set(tid, error);
    }
  }
  const gone = !isAlive(pid);
  const reason = gone
    ? 'it has ended'
    : 'none of its threads can be used: they sleep in the kernel, end, or have no room on their stacks';
  throw new MigrationError('tracking-failed', `no system call can be made in process ${pid}: ${reason}`, {
    cause: [...tried.values()].at(-1),
  });
}

/**
 * Threads worth a try, best first. One that waits in a system call is delayed by nothing and is in no restartable sequence
 * (see rseq(2)), which could not be resumed. The main thread comes last: node waits for those of its own children.
 */
function candidates(pid: number): number[] {
  const rank = (state: string, tid: number): number => STATES.indexOf(state) * 2 + (tid === pid ? 1 : 0);
  return threadsOf(pid)
    .map((tid) => ({ tid, ...readThread(pid, tid) }))
    .filter(({ state, kernelWorker }) => STATES.includes(state) && !kernelWorker)
    .sort((a, b) => rank(a.state, a.tid) - rank(b.state, b.tid))
    .map(({ tid }) => tid);
}

function injectInto<T>(
  pid: number,
  thread: TracedThread,
  use: (call: InjectedCall) => T,
  filters: FilterTreatment,
): T {
  try {
    if (filters === 'suspended' && readStatus(`${pid}/task/${thread.tid}`).seccomp) {
      suspendSeccomp(pid, thread);
    }
    const saved = thread.registers();
    if (saved.readBigUInt64LE(REGISTER.cs) !== BigInt(USER64_CS)) {
      throw new MigrationError('tracking-failed', `process ${pid} is no 64-bit program`);
    }
    const signalMask = thread.signalMask();
    const extendedState = thread.extendedState();
    const wayBack = layWayBack(pid, thread.tid, { registers: saved, signalMask, extendedState });
    // From here until it has its registers again, the thread goes that way if it is let go, as by the end of this process.
    thread.setRegisters(wayBack.returning);
    thread.setSignalMask(ALL_SIGNALS);
    try {
      return use((...call) => run(thread, wayBack, call));
    } finally {
      thread.stop();
      thread.setSignalMask(signalMask);
      thread.setRegisters(saved);
      wayBack.remove();
    }
  } finally {
    thread.detach();
  }
}

function run(thread: TracedThread, wayBack: WayBack, call: Call): number {
  thread.setRegisters(wayBack.calling(call));
  thread.runToSystemCall();
  thread.runToSystemCall();
  const result = Number(thread.registers().readBigInt64LE(REGISTER.rax));
  // At the exit of a call the kernel would not restart the one that is put back: at an ordinary stop it does.
  thread.stop();
  return result;
}

function suspendSeccomp(pid: number, thread: TracedThread): void {
  try {
    thread.suspendSeccomp();
  } catch (cause) {
    if (cause instanceof ThreadGoneError) throw cause;
    throw new MigrationError(
      'tracking-failed',
      `process ${pid} filters its system calls (seccomp), and this agent can't suspend that: it needs CAP_SYS_ADMIN, no such filter of its own, and a kernel with CONFIG_CHECKPOINT_RESTORE`,
      { cause },
    );
  }
}
