/**
 * Layouts and numbers are those of arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h, uapi/asm/ucontext.h and
 * linux/errno.h in Linux.
 */

import { REGISTER } from './user-registers.js';

/** All that rt_sigreturn(2) puts a thread of x86-64 back to. */
export interface ThreadState {
  /** struct user_regs_struct, at an ordinary stop of ptrace. */
  readonly registers: Buffer;
  /** The blocked signals: 64 bits. */
  readonly signalMask: Buffer;
  /** As TracedThread.extendedState() tells it. */
  readonly extendedState: Buffer;
}

/** What the calling convention leaves to functions below the top of the stack. bytes */
const RED_ZONE = 128;
/** struct rt_sigframe: the return address, struct ucontext, siginfo. */
const UCONTEXT = 8;
const FRAME_BYTES = UCONTEXT + 304 + 128;
// Byte offsets in struct ucontext.
const STACK_FLAGS = 24;
const CONTEXT = 40;
const SIGNAL_MASK = 296;
// Byte offsets in struct sigcontext, which has these registers first, in this order.
const ORDER = [
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rdi', 'rsi', 'rbp', 'rbx'] as const),
  ...(['rdx', 'rax', 'rcx', 'rsp', 'rip', 'rflags'] as const),
];
const CS = 144;
const SS = 150;
const EXTENDED_STATE = 184;
/** UC_FP_XSTATE, UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS: as the kernel itself sets them. */
const UCONTEXT_FLAGS = 7;
/** No mode there is: the kernel leaves the thread's alternative stack as it is. */
const KEEP_ALTERNATIVE_STACK = 4;
// Byte offsets in the XSAVE area: what the kernel has in the free part of its beginning (ptrace: the features that it saves;
// a frame: struct _fpx_sw_bytes), and which features are not in their initial state.
const SOFTWARE = 464;
const FEATURES_IN_USE = 512;
const FXSAVE_BYTES = 512;
const MAGIC1 = 0x46505853;
const MAGIC2 = 0x46505845;
const ALIGNMENT = 64n;
/** AMX tiles: the kernel keeps room for them in the area of a thread that has used them alone. They are the last in it. */
const TILES = { feature: 1n << 18n, bytes: 8192 };

// What the kernel makes of a system call that a signal has interrupted.
const ERESTARTSYS = -512n;
const ERESTARTNOINTR = -513n;
const ERESTARTNOHAND = -514n;
const ERESTART_RESTARTBLOCK = -516n;
const EINTR = 4n;

/**
 * A signal frame, to be written below the stack of a thread at `at`, as the kernel does before it runs a handler: from a stack
 * pointer of `at + 8` rt_sigreturn(2) puts the thread back to `state`. Its first 8 bytes are the address `returnTo`, for
 * a `ret` at `at`.
 *
 * A system call in which it was is made again, unless it is one that fails with EINTR after each handler, as poll(2) and
 * sigsuspend(2): such a one fails so. A handler can have run before the thread returns, and who waits in these for that would wait
 * on. (A read(2), for one, is made again even if that handler would have interrupted it.)
 */
export function signalFrame(
  state: ThreadState,
  returnTo: bigint,
): { readonly at: bigint; readonly bytes: Buffer } {
  const { registers, signalMask } = state;
  const area = extendedStateOf(state.extendedState);
  const top = registers.readBigUInt64LE(REGISTER.rsp) - BigInt(RED_ZONE);
  const areaAt = roundDown(top - BigInt(area.length), ALIGNMENT);
  const at = roundDown(areaAt - BigInt(FRAME_BYTES), 16n) - 8n;

  const bytes = Buffer.alloc(Number(areaAt - at) + area.length);
  bytes.writeBigUInt64LE(returnTo);
  const ucontext = bytes.subarray(UCONTEXT);
  ucontext.writeUInt32LE(UCONTEXT_FLAGS);
  ucontext.writeUInt32LE(KEEP_ALTERNATIVE_STACK, STACK_FLAGS);
  signalMask.copy(ucontext, SIGNAL_MASK);
  const context = ucontext.subarray(CONTEXT);
  const after = afterHandler(registers);
  ORDER.forEach((name, index) => after.copy(context, index * 8, REGISTER[name], REGISTER[name] + 8));
  registers.copy(context, CS, REGISTER.cs, REGISTER.cs + 2);
  registers.copy(context, SS, REGISTER.ss, REGISTER.ss + 2);
  context.writeBigUInt64LE(areaAt, EXTENDED_STATE);
  area.copy(bytes, Number(areaAt - at));
  return { at, bytes };
}

/** The area as the kernel wants it in a frame: with its size and its features in it, and marked at both ends. FXSAVE's has neither. */
function extendedStateOf(state: Buffer): Buffer {
  if (state.length <= FXSAVE_BYTES) return state;
  const all = state.readBigUInt64LE(SOFTWARE);
  const unused = all & TILES.feature & ~state.readBigUInt64LE(FEATURES_IN_USE);
  const bytes = state.length - (unused === 0n ? 0 : TILES.bytes);
  const area = Buffer.alloc(bytes + 4);
  state.copy(area, 0, 0, bytes);
  area.writeUInt32LE(MAGIC1, SOFTWARE);
  area.writeUInt32LE(area.length, SOFTWARE + 4);
  area.writeBigUInt64LE(all & ~unused, SOFTWARE + 8);
  area.writeUInt32LE(bytes, SOFTWARE + 16);
  area.writeUInt32LE(MAGIC2, bytes);
  return area;
}

/** Registers with which the thread goes on after a handler that restarts system calls (SA_RESTART). */
function afterHandler(registers: Buffer): Buffer {
  const after = Buffer.from(registers);
  const call = registers.readBigInt64LE(REGISTER.originalRax);
  if (call < 0n) return after;
  switch (registers.readBigInt64LE(REGISTER.rax)) {
    case ERESTARTSYS:
    case ERESTARTNOINTR:
      after.writeBigInt64LE(call, REGISTER.rax);
      // Back to the instruction, which has two bytes.
      after.writeBigUInt64LE(registers.readBigUInt64LE(REGISTER.rip) - 2n, REGISTER.rip);
      break;
    case ERESTARTNOHAND:
    case ERESTART_RESTARTBLOCK:
      after.writeBigInt64LE(-EINTR, REGISTER.rax);
  }
  return after;
}

function roundDown(value: bigint, to: bigint): bigint {
  return value - (value % to);
}
