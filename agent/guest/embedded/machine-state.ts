import { MigrationError } from '../../../shared/errors.js';
import type { ClintState } from './clint.js';
import { CONSOLE_TAIL_BYTES } from './console-tail.js';
import type { ControlRegistersState } from './control-registers.js';
import { MAX_PENDING_INPUT_BYTES, type UartState } from './uart.js';

/** First bytes of an encoded state ("VMFE" in little-endian order) and the version of what follows. */
const MAGIC = 0x45_46_4d_56;
export const STATE_VERSION = 1;

/** Bytes in the largest receiver FIFO of the UART. */
const MAX_RECEIVED_BYTES = 16;

/** Exit codes are what the finisher takes: 16 bits. */
const MAX_EXIT_CODE = 0xffff;

/** All that a machine is beside its memory. */
export interface MachineState {
  /** Size of the RAM that belongs to it. */
  memoryBytes: number;
  /** x0 to x31 as signed words. */
  registers: Int32Array;
  /** Signed word. */
  pc: number;
  retired: number;
  waiting: boolean;
  /** Offset in RAM that LR reserved, -1: none; and what was there. */
  reservation: { offset: number; value: number };
  control: ControlRegistersState;
  clint: ClintState;
  uart: UartState;
  /** -1: has not powered itself off. */
  exitCode: number;
  console: { end: number; tail: Uint8Array };
}

/** The state as bytes, little-endian, field after field in the order of this function. */
export function encodeMachineState(state: MachineState): Uint8Array {
  const { control, clint, uart } = state;
  const writer = new Writer(512 + uart.received.length + uart.pending.length + state.console.tail.length);
  writer.u32(MAGIC);
  writer.u32(STATE_VERSION);
  writer.u32(state.memoryBytes);
  for (let index = 1; index < 32; index += 1) writer.i32(state.registers[index]!);
  writer.i32(state.pc);
  writer.u64(BigInt(state.retired));
  writer.u8(state.waiting ? 1 : 0);
  writer.i32(state.reservation.offset);
  writer.i32(state.reservation.value);
  writer.i32(control.mstatus);
  writer.i32(control.mie);
  writer.i32(control.mtvec);
  writer.i32(control.mscratch);
  writer.i32(control.mepc);
  writer.i32(control.mcause);
  writer.i32(control.mtval);
  writer.u64(control.cycleOffset);
  writer.u64(control.instretOffset);
  writer.u8(clint.softwareInterrupt ? 1 : 0);
  writer.u64(clint.compare);
  writer.u64(clint.skew);
  writer.u8(uart.interruptEnable);
  writer.u8(uart.fifoControl);
  writer.u8(uart.lineControl);
  writer.u8(uart.modemControl);
  writer.u8(uart.scratch);
  writer.u32(uart.divisor);
  writer.u8(uart.transmitEmptyPending ? 1 : 0);
  writer.u8(uart.lastReceived);
  writer.bytes(uart.received);
  writer.bytes(uart.pending);
  writer.i32(state.exitCode);
  writer.u64(BigInt(state.console.end));
  writer.bytes(state.console.tail);
  return writer.finish();
}

/**
 * The state in `data`, for a machine with `memoryBytes` of RAM. Throws load-failed, naming what is wrong, for
 * whatever encodeMachineState cannot have made.
 */
export function decodeMachineState(data: Uint8Array, memoryBytes: number): MachineState {
  const reader = new Reader(data);
  if (reader.u32('format') !== MAGIC) reader.fail('it does not start like a state of the embedded machine');
  const version = reader.u32('version');
  if (version !== STATE_VERSION) {
    reader.fail(
      `its version is ${version}, and this agent reads ${STATE_VERSION}: run the same release on both`,
    );
  }
  const ofMemory = reader.u32('memory size');
  if (ofMemory !== memoryBytes) {
    reader.fail(`it belongs to a machine of ${ofMemory} bytes of memory, and this one has ${memoryBytes}`);
  }
  const registers = new Int32Array(32);
  for (let index = 1; index < 32; index += 1) registers[index] = reader.i32(`register x${index}`);
  const pc = reader.i32('pc');
  if (pc % 4 !== 0) reader.fail(`its pc 0x${(pc >>> 0).toString(16)} is not a multiple of 4`);
  const retired = reader.count('retired instructions');
  const waiting = reader.flag('waiting');
  const reservation = { offset: reader.i32('reservation'), value: reader.i32('reserved value') };
  const { offset } = reservation;
  if (offset !== -1 && (offset < 0 || offset > memoryBytes - 4 || offset % 4 !== 0)) {
    reader.fail(`its reservation is at offset ${offset}, which is no word of the memory`);
  }
  const control: ControlRegistersState = {
    mstatus: reader.i32('mstatus'),
    mie: reader.i32('mie'),
    mtvec: reader.i32('mtvec'),
    mscratch: reader.i32('mscratch'),
    mepc: reader.i32('mepc'),
    mcause: reader.i32('mcause'),
    mtval: reader.i32('mtval'),
    cycleOffset: reader.u64('mcycle'),
    instretOffset: reader.u64('minstret'),
  };
  const clint: ClintState = {
    softwareInterrupt: reader.flag('msip'),
    compare: reader.u64('mtimecmp'),
    skew: reader.u64('mtime'),
  };
  const uart: UartState = {
    interruptEnable: reader.u8('IER', 0x0f),
    fifoControl: reader.u8('FCR'),
    lineControl: reader.u8('LCR'),
    modemControl: reader.u8('MCR', 0x1f),
    scratch: reader.u8('SCR'),
    divisor: reader.u32('divisor', 0xffff),
    transmitEmptyPending: reader.flag('THRI'),
    lastReceived: reader.u8('RBR'),
    received: reader.bytes('received bytes', MAX_RECEIVED_BYTES),
    pending: reader.bytes('pending input', MAX_PENDING_INPUT_BYTES),
  };
  const exitCode = reader.i32('exit code');
  if (exitCode < -1 || exitCode > MAX_EXIT_CODE) reader.fail(`its exit code is ${exitCode}`);
  const end = reader.count('console position');
  const tail = reader.bytes('console output', CONSOLE_TAIL_BYTES);
  if (tail.length > end) reader.fail(`it has ${tail.length} bytes of console output of ${end} in all`);
  reader.end();
  const console = { end, tail };
  return {
    memoryBytes,
    registers,
    pc,
    retired,
    waiting,
    reservation,
    control,
    clint,
    uart,
    exitCode,
    console,
  };
}

class Writer {
  readonly #view: DataView;
  readonly #data: Uint8Array;
  #length = 0;

  constructor(capacity: number) {
    this.#data = new Uint8Array(capacity);
    this.#view = new DataView(this.#data.buffer);
  }

  u8(value: number): void {
    this.#view.setUint8(this.#advance(1), value);
  }

  u32(value: number): void {
    this.#view.setUint32(this.#advance(4), value, true);
  }

  i32(value: number): void {
    this.#view.setInt32(this.#advance(4), value, true);
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.#advance(8), value, true);
  }

  /** A length in 32 bits, and the bytes. */
  bytes(data: Uint8Array): void {
    this.u32(data.length);
    this.#data.set(data, this.#advance(data.length));
  }

  finish(): Uint8Array {
    return this.#data.slice(0, this.#length);
  }

  #advance(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    return at;
  }
}

class Reader {
  readonly #view: DataView;
  readonly #data: Uint8Array;
  #position = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  fail(reason: string): never {
    throw new MigrationError('load-failed', `the state cannot be loaded: ${reason}`);
  }

  u8(field: string, max = 0xff): number {
    const value = this.#view.getUint8(this.#advance(1, field));
    if (value > max) this.fail(`its ${field} is ${value}, more than ${max}`);
    return value;
  }

  flag(field: string): boolean {
    return this.u8(field, 1) === 1;
  }

  u32(field: string, max = 0xffffffff): number {
    const value = this.#view.getUint32(this.#advance(4, field), true);
    if (value > max) this.fail(`its ${field} is ${value}, more than ${max}`);
    return value;
  }

  i32(field: string): number {
    return this.#view.getInt32(this.#advance(4, field), true);
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#advance(8, field), true);
  }

  /** A 64-bit number that is a count: an exact integer here. */
  count(field: string): number {
    const value = this.u64(field);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      this.fail(`its ${field} is ${value}, which no machine reaches`);
    return Number(value);
  }

  bytes(field: string, max: number): Uint8Array {
    const length = this.u32(`length of ${field}`, max);
    const at = this.#advance(length, field);
    return this.#data.slice(at, at + length);
  }

  end(): void {
    const left = this.#data.length - this.#position;
    if (left > 0) this.fail(`${left} bytes follow its end`);
  }

  #advance(bytes: number, field: string): number {
    const at = this.#position;
    if (at + bytes > this.#data.length)
      this.fail(`it ends after ${this.#data.length} bytes, within its ${field}`);
    this.#position += bytes;
    return at;
  }
}
