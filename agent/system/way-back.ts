import { MigrationError } from '../../shared/errors.js';
import { type ProcessMapping, readMaps } from './process-maps.js';
import { signalFrame, type ThreadState } from './signal-frame.js';
import { hasCode } from './system-call-error.js';
import { readProcessMemory, writeProcessMemory } from './system-calls.js';
import { ThreadGoneError } from './traced-thread.js';
import { REGISTER } from './user-registers.js';

/** Sequences of instructions, each in the ways in which it is written. */
const SEQUENCES = {
  /** `syscall`, `ret`: as in getpid() and its like. */
  callAndReturn: [Buffer.from([0x0f, 0x05, 0xc3])],
  /** rt_sigreturn(2), as signal handlers return to it: `mov $15, %rax` (or `%eax`), `syscall`. */
  signalReturn: [
    Buffer.from([0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]),
    Buffer.from([0xb8, 15, 0, 0, 0, 0x0f, 0x05]),
  ],
};
const LONGEST = Math.max(...Object.values(SEQUENCES).flatMap((ways) => ways.map(({ length }) => length)));
const SEARCH_BYTES = 2 ** 16;
/** C libraries have both; where one is linked statically, the program has. */
const C_LIBRARY = /\/(libc[.-]|ld-musl-)[^/]*$/;

type Code = { readonly [name in keyof typeof SEQUENCES]: bigint };

export type Call = readonly [number: number, first?: number, second?: number, third?: number];

/** A thread that has no room for a signal frame: another one may. */
export class StackFullError extends Error {}

/** Registers with which a stopped thread, let go, comes back to where it was stopped, by itself. */
export interface WayBack {
  /** At once. */
  readonly returning: Buffer;
  /** After it has made a system call. */
  calling(call: Call): Buffer;
  /** Puts its stack back as it was: not before the thread has no need to return so. */
  remove(): void;
}

/**
 * Lays the way back to `state`: a signal frame on the thread's stack, below what is in use of it. Throws tracking-failed if
 * the process has no code for it, StackFullError if the stack has no room, ThreadGoneError.
 */
export function layWayBack(pid: number, tid: number, state: ThreadState): WayBack {
  const maps = readMaps(pid);
  // Of one that ends.
  if (maps.length === 0) throw new ThreadGoneError(`process ${pid} has no memory any more`);
  const { callAndReturn, signalReturn } = findCode(pid, maps);
  const { at, bytes } = signalFrame(state, signalReturn);
  const before = replaceOnStack(pid, tid, maps, Number(at), bytes);
  const goingTo = (rip: bigint, rsp: bigint): Buffer => {
    const registers = Buffer.from(state.registers);
    registers.writeBigUInt64LE(rip, REGISTER.rip);
    registers.writeBigUInt64LE(rsp, REGISTER.rsp);
    // No system call is to be restarted in its place.
    registers.writeBigInt64LE(-1n, REGISTER.originalRax);
    return registers;
  };
  return {
    returning: goingTo(signalReturn, at + 8n),
    calling([number, first = 0, second = 0, third = 0]) {
      const registers = goingTo(callAndReturn, at);
      registers.writeBigInt64LE(BigInt(number), REGISTER.rax);
      registers.writeBigInt64LE(BigInt(first), REGISTER.rdi);
      registers.writeBigInt64LE(BigInt(second), REGISTER.rsi);
      registers.writeBigInt64LE(BigInt(third), REGISTER.rdx);
      return registers;
    },
    remove() {
      try {
        writeProcessMemory(pid, Number(at), before);
      } catch {
        // It has ended, or is about to: nobody misses it.
      }
    },
  };
}

/** Where a process has the first of each sequence. Code that may be written to is no code to rely on. */
function findCode(pid: number, maps: readonly ProcessMapping[]): Code {
  const code = maps.filter(
    ({ executable, writable, name }) => executable && !writable && name !== '[vsyscall]',
  );
  code.sort((a, b) => Number(C_LIBRARY.test(b.name)) - Number(C_LIBRARY.test(a.name)));
  const chunk = Buffer.alloc(SEARCH_BYTES + LONGEST - 1);
  const found: { -readonly [name in keyof Code]?: bigint } = {};
  for (const { start, end } of code) {
    for (let at = start; at < end; at += SEARCH_BYTES) {
      const read = chunk.subarray(0, Math.min(chunk.length, end - at));
      const text = read.subarray(
        0,
        transferred(() => readProcessMemory(pid, at, read)),
      );
      for (const name of ['callAndReturn', 'signalReturn'] as const) {
        const [place] = SEQUENCES[name].map((way) => text.indexOf(way)).filter((index) => index >= 0);
        if (place !== undefined) found[name] ??= BigInt(at + place);
      }
      const { callAndReturn, signalReturn } = found;
      if (callAndReturn !== undefined && signalReturn !== undefined) return { callAndReturn, signalReturn };
    }
  }
  throw new MigrationError(
    'tracking-failed',
    `no system call can be made in process ${pid}: its code has none from which a thread could return by itself`,
  );
}

/** Returns what was there before. */
function replaceOnStack(
  pid: number,
  tid: number,
  maps: readonly ProcessMapping[],
  at: number,
  bytes: Buffer,
): Buffer {
  // In one mapping, or it would go on beyond the end of the stack.
  const room = maps.some(
    ({ start, end, writable, shared }) => writable && !shared && start <= at && at + bytes.length <= end,
  );
  const before = Buffer.alloc(bytes.length);
  const all = (transfer: () => number): boolean => transferred(transfer) === bytes.length;
  if (
    !room ||
    !all(() => readProcessMemory(pid, at, before)) ||
    !all(() => writeProcessMemory(pid, at, bytes))
  ) {
    throw new StackFullError(`the stack of thread ${tid} has no room for ${bytes.length} bytes`);
  }
  return before;
}

/** The bytes that were transferred: none where nothing can be reached, as in guards of stacks that are no mappings of their own. */
function transferred(transfer: () => number): number {
  try {
    return transfer();
  } catch (error) {
    if (hasCode(error, 'EFAULT')) return 0;
    if (hasCode(error, 'ESRCH')) throw new ThreadGoneError('the process has ended', { cause: error });
    throw error;
  }
}
