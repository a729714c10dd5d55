import { libc } from './libc.js';
import { isAlive, readStatus, readThread } from './process-status.js';
import { hasCode, SystemCallError } from './system-call-error.js';
import { addressOf, vectorOf } from './system-calls.js';
import { traceRefusal } from './trace-refusal.js';
import { USER_REGISTERS_BYTES } from './user-registers.js';

// From linux/ptrace.h and linux/wait.h.
const PTRACE_CONT = 7;
const PTRACE_GETREGS = 12;
const PTRACE_SETREGS = 13;
const PTRACE_DETACH = 17;
const PTRACE_SYSCALL = 24;
const PTRACE_SETOPTIONS = 0x4200;
const PTRACE_GETREGSET = 0x4204;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_GETSIGMASK = 0x420a;
const PTRACE_SETSIGMASK = 0x420b;
const PTRACE_O_TRACESYSGOOD = 1;
const PTRACE_O_SUSPEND_SECCOMP = 0x200000;
const PTRACE_EVENT_STOP = 128;
const P_PID = 1;
const WNOHANG = 1;
const WSTOPPED = 2;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const CLD_DUMPED = 3;
const __WALL = 0x40000000;
const SIGTRAP = 5;
const SYSCALL_STOP = SIGTRAP | 0x80;

// Sets of registers, from linux/elf.h.
const NT_PRFPREG = 2;
const NT_X86_XSTATE = 0x202;
/** More than any processor has of one. bytes */
const REGISTER_SET_LIMIT = 2 ** 16;
/** How long a thread may take to stop at first. Those that sleep deep in the kernel don't; they are not tried, if that is known. */
const ATTACH_LIMIT_MS = 500;
/** How long it may take afterwards: it is needed, since it has registers to be put back, on however busy a machine. */
const USE_LIMIT_MS = 20_000;
/** How long is waited for the end of a thread that was killed. */
const END_LIMIT_MS = 500;
/** How often a thread that did not stop, or end, in time is looked at until it can be let go. */
const RELEASE_INTERVAL_MS = 20;

/** A thread that did not stop within the limit: another one may. */
export class ThreadBusyError extends Error {}

/** A thread that ended while it was traced: the process may live on. */
export class ThreadGoneError extends Error {}

/**
 * A thread of another process, stopped by ptrace. The kernel knows tracers by thread, and node reaps stopped children
 * like dead ones: so attach, use and detach within one turn of the event loop.
 */
export class TracedThread {
  readonly tid: number;
  readonly #pid: number;
  /** Whether node waits for it, too: that would take its stop for its end, in a later turn. */
  readonly #ownChild: boolean;
  #place: 'running' | 'system-call' | 'standing' = 'running';
  #limitMs = ATTACH_LIMIT_MS;

  /** Stops a thread. Throws tracking-failed if that is refused, ThreadBusyError, ThreadGoneError. */
  static attach(pid: number, tid: number): TracedThread {
    const thread = new TracedThread(pid, tid);
    if (readThread(pid, tid).state === 'D') throw thread.#busy();
    try {
      thread.#ptrace('SEIZE', PTRACE_SEIZE, PTRACE_O_TRACESYSGOOD);
    } catch (error) {
      if (hasCode(error, 'ESRCH') || !isAlive(pid, tid)) throw thread.#gone(error);
      throw hasCode(error, 'EPERM') ? traceRefusal(pid, tid, error) : error;
    }
    try {
      thread.stop();
      thread.#limitMs = USE_LIMIT_MS;
    } catch (error) {
      if (!(error instanceof ThreadGoneError)) thread.#letGoLater();
      throw error;
    }
    return thread;
  }

  private constructor(pid: number, tid: number) {
    this.#pid = pid;
    this.tid = tid;
    this.#ownChild = tid === pid && isChildOfThisProcess(pid);
    if (this.#ownChild) this.#limitMs = USE_LIMIT_MS;
  }

  /** Stops the thread wherever it is: returns once it stands still, with none of its signals lost. */
  stop(): void {
    while (this.#place !== 'standing') {
      this.#ptrace('INTERRUPT', PTRACE_INTERRUPT);
      if (this.#place === 'system-call') this.#resume('CONT', PTRACE_CONT);
      const { event, signal } = this.#waitForStop();
      // About to receive a signal: it goes on to that, and stops at the next instruction.
      if (event === PTRACE_EVENT_STOP) this.#place = 'standing';
      else this.#resume('CONT', PTRACE_CONT, signal === SYSCALL_STOP ? 0 : signal);
    }
  }

  registers(): Buffer {
    const registers = Buffer.alloc(USER_REGISTERS_BYTES);
    this.#ptraceData('GETREGS', PTRACE_GETREGS, 0, registers);
    return registers;
  }

  setRegisters(registers: Uint8Array): void {
    this.#ptraceData('SETREGS', PTRACE_SETREGS, 0, registers);
  }

  /**
   * Registers of floating point and vectors: the XSAVE area, uncompacted; the FXSAVE area alone, its first 512 bytes, where the
   * processor has no more.
   */
  extendedState(): Buffer {
    try {
      return this.#registerSet(NT_X86_XSTATE);
    } catch (error) {
      if (!hasCode(error, 'ENODEV')) throw error;
      return this.#registerSet(NT_PRFPREG);
    }
  }

  #registerSet(type: number): Buffer {
    const state = Buffer.alloc(REGISTER_SET_LIMIT);
    // The kernel writes into it how much there is.
    const vector = vectorOf(addressOf(state), state.length);
    this.#ptraceData('GETREGSET', PTRACE_GETREGSET, type, vector);
    return state.subarray(0, Number(vector.readBigUInt64LE(8)));
  }

  /** The blocked signals: 64 bits. */
  signalMask(): Buffer {
    const mask = Buffer.alloc(8);
    this.#ptraceData('GETSIGMASK', PTRACE_GETSIGMASK, mask.length, mask);
    return mask;
  }

  setSignalMask(mask: Uint8Array): void {
    this.#ptraceData('SETSIGMASK', PTRACE_SETSIGMASK, mask.length, mask);
  }

  /** No filter for system calls applies until the thread is detached. Throws EPERM without CAP_SYS_ADMIN. */
  suspendSeccomp(): void {
    this.#ptrace('SETOPTIONS', PTRACE_SETOPTIONS, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP);
  }

  /** Runs to the next entry into a system call, or the next exit from one. */
  runToSystemCall(): void {
    for (let signal = 0; ;) {
      this.#resume('SYSCALL', PTRACE_SYSCALL, signal);
      const stop = this.#waitForStop();
      if (stop.signal === SYSCALL_STOP) {
        this.#place = 'system-call';
        return;
      }
      // SIGSTOP alone can come here, the others being blocked: it is delivered, and the thread runs on all the same.
      signal = stop.event === 0 ? stop.signal : 0;
    }
  }

  /** Lets it run as before; a process that was stopped stays so. Harmless if it has ended. */
  detach(): void {
    try {
      this.#ptrace('DETACH', PTRACE_DETACH);
    } catch (error) {
      if (!(error instanceof ThreadGoneError)) throw error;
    }
  }

  #ptrace(name: string, request: number, data = 0): void {
    if (libc().ptrace(request, this.tid, 0, data) === -1) throw this.#failed(name);
  }

  #resume(name: string, request: number, signal = 0): void {
    this.#ptrace(name, request, signal);
    this.#place = 'running';
  }

  #ptraceData(name: string, request: number, address: number, data: Uint8Array): void {
    if (libc().ptraceData(request, this.tid, address, data) === -1) throw this.#failed(name);
  }

  #failed(name: string): Error {
    const error = new SystemCallError(`ptrace ${name} of thread ${this.tid}`, libc().errno());
    if (error.code !== 'ESRCH' || name === 'SEIZE') return error;
    // It was killed in its stop, and is about to end.
    const start = performance.now();
    while (!this.#hasEnded()) {
      if (performance.now() - start > END_LIMIT_MS) {
        this.#letGoLater();
        break;
      }
      pause();
    }
    return this.#gone(error);
  }

  #busy(): ThreadBusyError {
    return new ThreadBusyError(
      `thread ${this.tid} of process ${this.#pid} does not stop: it sleeps in the kernel`,
    );
  }

  #gone(cause?: unknown): ThreadGoneError {
    return new ThreadGoneError(`thread ${this.tid} of process ${this.#pid} has ended`, { cause });
  }

  #waitForStop(): { signal: number; event: number } {
    const start = performance.now();
    for (;;) {
      const stopped = this.#stopped();
      if (stopped) return { signal: stopped.status & 0xff, event: stopped.status >> 8 };
      if (this.#hasEnded()) throw this.#gone();
      const waitedMs = performance.now() - start;
      if (waitedMs > this.#limitMs) {
        throw this.#busy();
      }
      if (waitedMs > 0.1) pause();
    }
  }

  /** Its stop, if it has come to one. */
  #stopped(): { status: number } | undefined {
    try {
      return this.#wait(WSTOPPED);
    } catch (error) {
      // It has ended, and the end is still to be taken note of: the kernel knows no stops of such.
      if (hasCode(error, 'ECHILD')) return undefined;
      throw error;
    }
  }

  /**
   * Whether it has ended. The tracer must take note of that, or the parent is never told; unless it is the parent: node
   * is to see the end of its child.
   */
  #hasEnded(): boolean {
    try {
      const change = this.#wait(WEXITED | WNOWAIT);
      // Of a tracee the kernel tells stops, too, whatever was asked for.
      if (change === undefined || change.code > CLD_DUMPED) return false;
      if (!this.#ownChild) this.#wait(WEXITED);
      return true;
    } catch (error) {
      if (hasCode(error, 'ECHILD', 'ENOENT')) return true;
      throw error;
    }
  }

  /** A change of that kind, if there is one: its si_code and si_status. Never waits. */
  #wait(kind: number): { code: number; status: number } | undefined {
    const info = Buffer.alloc(128);
    if (libc().waitid(P_PID, this.tid, info, kind | WNOHANG | __WALL) === -1) {
      throw new SystemCallError('waitid', libc().errno());
    }
    if (info.readInt32LE(16) === 0) return undefined;
    return { code: info.readInt32LE(8), status: info.readInt32LE(24) };
  }

  /** A thread that sleeps deep in the kernel stops when it wakes, and can only then be let go. */
  #letGoLater(): void {
    const timer = setInterval(() => {
      // Tried each time, since the stop may have been told to node, as that of a child.
      if (libc().ptrace(PTRACE_DETACH, this.tid, 0, 0) === 0 || this.#hasEnded()) clearInterval(timer);
    }, RELEASE_INTERVAL_MS).unref();
  }
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Leaves the processor to others for a moment, within the turn. */
function pause(): void {
  Atomics.wait(never, 0, 0, 0.05);
}

function isChildOfThisProcess(pid: number): boolean {
  try {
    return readStatus(pid).parent === process.pid;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}
