import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { MigrationError } from '../../shared/errors.js';
import { type ProcessMapping, readMaps } from './process-maps.js';
import { signalFrame, type ThreadState } from './signal-frame.js';
import { REGISTER } from './user-registers.js';

/** `syscall`, `ret`: as in getpid() and its like. */
const CALL_AND_RETURN = [Buffer.from([0x0f, 0x05, 0xc3])];
/** rt_sigreturn(2), as signal handlers return to it: `mov $15, %rax` (or `%eax`), `syscall`. */
const SIGNAL_RETURN = [
  Buffer.from([0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]),
  Buffer.from([0xb8, 15, 0, 0, 0, 0x0f, 0x05]),
];
const SEARCH_BYTES = 2 ** 20;
const LONGEST = 9;
/** C libraries have both; where one is linked statically, the program has. */
const C_LIBRARY = /\/(libc[.-]|ld-musl-)[^/]*$/;

export type Call = readonly [number: number, first?: number, second?: number, third?: number];

/** A thread that has no room for a signal frame: another one may. */
export class StackFullError extends Error {}

/** Registers with which a stopped thread, let go, comes back to where it was stopped, by itself. */
export interface WayBack {
  /** At once. */
  readonly returning: Buffer;
  /** After it has made a system call. */
  calling(call: Call): Buffer;
}

/**
 * Lays the way back to `state`: a signal frame on the thread's stack, below what is in use of it. Throws tracking-failed if
 * the process has no code for it, StackFullError if the stack has no room.
 */
export function layWayBack(pid: number, tid: number, state: ThreadState): WayBack {
  const maps = readMaps(pid);
  const memory = openSync(`/proc/${pid}/mem`, 'r+');
  try {
    const find = (code: readonly Buffer[]): bigint => findCode(pid, memory, maps, code);
    const callAndReturn = find(CALL_AND_RETURN);
    const signalReturn = find(SIGNAL_RETURN);
    const { at, bytes } = signalFrame(state, signalReturn);
    writeOnStack(tid, memory, maps, Number(at), bytes);

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
    };
  } finally {
    closeSync(memory);
  }
}

/** Where the code of a process has one of these sequences of instructions. */
function findCode(
  pid: number,
  memory: number,
  maps: readonly ProcessMapping[],
  sequences: readonly Buffer[],
): bigint {
  const code = maps.filter(({ executable, name }) => executable && name !== '[vsyscall]');
  code.sort((a, b) => Number(C_LIBRARY.test(b.name)) - Number(C_LIBRARY.test(a.name)));
  const chunk = Buffer.alloc(SEARCH_BYTES + LONGEST);
  for (const { start, end } of code) {
    for (let at = start; at < end; at += SEARCH_BYTES) {
      const read = chunk.subarray(0, readSync(memory, chunk, 0, Math.min(chunk.length, end - at), at));
      for (const sequence of sequences) {
        const found = read.indexOf(sequence);
        if (found >= 0) return BigInt(at + found);
      }
    }
  }
  throw new MigrationError(
    'tracking-failed',
    `no system call can be made in process ${pid}: its code has none from which a thread could return by itself`,
  );
}

/** The file would write where the process itself may not: past the end of a stack, for one. */
function writeOnStack(
  tid: number,
  memory: number,
  maps: readonly ProcessMapping[],
  at: number,
  bytes: Buffer,
): void {
  const room = maps.some(({ start, end, writable }) => writable && start <= at && at + bytes.length <= end);
  if (!room) throw new StackFullError(`the stack of thread ${tid} has no room for ${bytes.length} bytes`);
  writeSync(memory, bytes, 0, bytes.length, at);
}
