import { closeSync, openSync, readSync } from 'node:fs';
import { MigrationError } from '../../shared/errors.js';
import { readMaps } from './process-maps.js';
import { isAlive, readStatus, readThread, threadsOf } from './process-status.js';
import { ThreadBusyError, ThreadGoneError, TracedThread } from './traced-thread.js';

/** Byte offsets in struct user_regs_struct of x86-64. */
const REGISTER = {
  rdx: 12 * 8,
  rsi: 13 * 8,
  rdi: 14 * 8,
  originalRax: 15 * 8,
  rip: 16 * 8,
  cs: 17 * 8,
  rax: 10 * 8,
};
/** Code segment of 64-bit programs. */
const USER64_CS = 0x33;
/** The instruction `syscall`. */
const SYSCALL_INSTRUCTION = Buffer.from([0x0f, 0x05]);
const SEARCH_BYTES = 2 ** 20;
const ALL_SIGNALS = Buffer.alloc(8, 0xff);
/** Of threads that can be stopped soon: sleeping, running, stopped already. */
const STATES = 'SRTt';
/** How many threads are tried that end or do not stop. */
const MAX_ATTEMPTS = 8;

/** Which filters of system calls the process has: `suspended` for the calls, or known to let them `pass`. */
export type FilterTreatment = 'suspended' | 'pass';

/** Runs a system call in the other process and returns what the kernel did: a negative errno on failure. */
export type InjectedCall = (number: number, first?: number, second?: number, third?: number) => number;

/**
 * Stops one thread of another process, lets it make the system calls that `use` asks for, and lets it go on as if nothing
 * had been: what it was blocked in is restarted, and signals that arrive meanwhile are delivered afterwards. x86-64 alone.
 *
 * The thread runs a `syscall` instruction that is in the memory of its process already, from entry to exit, with all
 * signals blocked; no instruction after it is executed. The calls must be such that return at once.
 *
 * Throws tracking-failed: other architecture, no privilege, another tracer, filtered system calls, process gone, none of
 * its threads stops. What `use` throws is passed on. All of it happens in one turn of the event loop (see TracedThread).
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
  const tried: number[] = [];
  for (;;) {
    const thread = attachToOne(pid, tried);
    try {
      return injectInto(pid, thread, use, filters);
    } catch (error) {
      if (!(error instanceof ThreadGoneError)) throw error;
      tried.push(thread.tid);
    }
  }
}

/** Stops the first thread that lets itself be stopped. */
function attachToOne(pid: number, tried: number[]): TracedThread {
  let last: unknown;
  for (const tid of candidates(pid)) {
    if (tried.length >= MAX_ATTEMPTS) break;
    if (tried.includes(tid)) continue;
    try {
      return TracedThread.attach(pid, tid);
    } catch (error) {
      if (!(error instanceof ThreadBusyError || error instanceof ThreadGoneError)) throw error;
      last = error;
      tried.push(tid);
    }
  }
  const gone = !isAlive(pid);
  const reason = gone
    ? 'it has ended'
    : 'none of its threads can be stopped: they sleep in the kernel, or end';
  throw new MigrationError('tracking-failed', `no system call can be made in process ${pid}: ${reason}`, {
    cause: last,
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
    const instruction = findSystemCallInstruction(pid, saved);
    const mask = thread.signalMask();
    thread.setSignalMask(ALL_SIGNALS);
    try {
      return use((...call) => run(thread, saved, instruction, call));
    } finally {
      thread.stop();
      thread.setRegisters(saved);
      thread.setSignalMask(mask);
    }
  } finally {
    thread.detach();
  }
}

function run(
  thread: TracedThread,
  saved: Buffer,
  instruction: bigint,
  [number, first = 0, second = 0, third = 0]: Parameters<InjectedCall>,
): number {
  const registers = Buffer.from(saved);
  registers.writeBigUInt64LE(instruction, REGISTER.rip);
  registers.writeBigInt64LE(BigInt(number), REGISTER.rax);
  // No system call is to be restarted in its place.
  registers.writeBigInt64LE(-1n, REGISTER.originalRax);
  registers.writeBigInt64LE(BigInt(first), REGISTER.rdi);
  registers.writeBigInt64LE(BigInt(second), REGISTER.rsi);
  registers.writeBigInt64LE(BigInt(third), REGISTER.rdx);
  thread.setRegisters(registers);
  thread.runToSystemCall();
  thread.runToSystemCall();
  const result = Number(thread.registers().readBigInt64LE(REGISTER.rax));
  // At the exit of a call the kernel would not restart the one that is put back: at an ordinary stop it does.
  thread.stop();
  return result;
}

/** Address of a `syscall` instruction: the one that the thread is in, or any in the code of its process. */
function findSystemCallInstruction(pid: number, registers: Buffer): bigint {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    const read = (at: number | bigint, bytes: number): Buffer => {
      const buffer = Buffer.alloc(bytes);
      return buffer.subarray(0, readSync(memory, buffer, { position: at }));
    };
    const code = readMaps(pid).filter(({ executable, name }) => executable && name !== '[vsyscall]');
    const before = registers.readBigUInt64LE(REGISTER.rip) - 2n;
    if (
      code.some(({ start, end }) => before >= start && before < end) &&
      read(before, 2).equals(SYSCALL_INSTRUCTION)
    )
      return before;
    // The kernel's own page, which is small and has one, first.
    code.sort((a, b) => Number(b.name === '[vdso]') - Number(a.name === '[vdso]'));
    for (const { start, end } of code) {
      for (let at = start; at < end; at += SEARCH_BYTES) {
        const found = read(at, Math.min(SEARCH_BYTES, end - at)).indexOf(SYSCALL_INSTRUCTION);
        if (found >= 0) return BigInt(at + found);
      }
    }
  } finally {
    closeSync(memory);
  }
  throw new MigrationError('tracking-failed', `process ${pid} has no syscall instruction in its code`);
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
