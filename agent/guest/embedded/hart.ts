import { branchTaken, combineAtomically } from './rare-operations.js';
import { ControlRegisters, MSTATUS_MIE, MSTATUS_MPIE } from './control-registers.js';
import { OPERATION } from './decode.js';
import type { DeviceBus } from './device-bus.js';
import { RAM_BASE } from './memory-map.js';

/** RAM_BASE as a signed word: an address XOR this is an offset in RAM, or beyond its end. */
export const RAM_BASE_SIGNED = RAM_BASE | 0;

/** Exception codes of mcause (Privileged Architecture, table 3.6). */
export const CAUSE = {
  instructionMisaligned: 0,
  instructionAccess: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  ecall: 11,
} as const;

/** A page is 4096 bytes. */
const PAGE_SHIFT = 12;

/** Where writes are marked while no log is kept: RAM has at most 2^31 bytes, so the shift makes every offset 0. */
const UNREAD_MAP = new Uint8Array(1);
const UNREAD_MAP_SHIFT = 31;

const BRANCH_OPCODE = 0x63;

/** How an instruction ended, where it is no exception: as most do, or having done something outside of the loop. */
export const DONE = -1;
export const DONE_OUTSIDE = -2;

/**
 * The state of the one hart, RV32IMA + Zicsr in machine mode, and all that it does beside the interpreter's main loop:
 * traps, and the operations that are too rare or too long for that loop.
 */
export class Hart {
  readonly registers = new Int32Array(33);
  readonly control: ControlRegisters;
  /** What LR reserved: an offset in RAM, or -1, and the word that was there. */
  readonly reservation = { offset: -1, value: 0 };
  /** Address of the next instruction, as a signed word. */
  pc = RAM_BASE_SIGNED;
  /** Instructions executed to their end since boot: those that trapped are not among them. */
  retired = 0;
  /** Waits for an interrupt: executes nothing until one is pending. */
  waiting = false;
  /** Something happened after which interrupts or the machine's end must be looked at before the next instruction. */
  attention = false;

  /** RAM as bytes, and as signed words. */
  readonly ram: Uint8Array;
  readonly words: Int32Array;
  /**
   * Every store sets the byte of this map at its offset in RAM shifted right by writeMapShift: its page's. Where no log
   * is kept all of them set the one byte of a map that nobody reads, which is cheaper than to ask each time.
   */
  writeMap: Uint8Array = UNREAD_MAP;
  writeMapShift = UNREAD_MAP_SHIFT;
  /** mtval of the exception that the last operation ended with. */
  trapValue = 0;
  readonly #view: DataView;
  readonly #bus: DeviceBus;

  constructor(ram: SharedArrayBuffer, bus: DeviceBus) {
    this.ram = new Uint8Array(ram);
    this.words = new Int32Array(ram);
    this.#view = new DataView(ram);
    this.#bus = bus;
    this.control = new ControlRegisters(bus.clint);
  }

  /** From the next instruction on every store sets the byte of its page in `map`; null: no longer. */
  logWrites(map: Uint8Array | null): void {
    this.writeMap = map ?? UNREAD_MAP;
    this.writeMapShift = map === null ? UNREAD_MAP_SHIFT : PAGE_SHIFT;
  }

  /** Enters the trap handler. `cause` as in mcause: interrupts have bit 31. */
  trap(cause: number, value: number): void {
    const control = this.control;
    control.mepc = this.pc & ~3;
    control.mcause = cause | 0;
    control.mtval = value;
    const enabled = control.mstatus & MSTATUS_MIE;
    control.mstatus = (control.mstatus & ~(MSTATUS_MIE | MSTATUS_MPIE)) | (enabled ? MSTATUS_MPIE : 0);
    const vectored = (control.mtvec & 1) !== 0 && cause < 0;
    this.pc = ((control.mtvec & ~3) + (vectored ? (cause & 0x7fffffff) * 4 : 0)) | 0;
    this.reservation.offset = -1;
  }

  /** A load that is misaligned or not from RAM. Returns DONE_OUTSIDE or the exception's cause. */
  loadSlowly(address: number, bytes: number, signed: boolean, rd: number): number {
    const offset = (address ^ RAM_BASE_SIGNED) >>> 0;
    let value: number | undefined;
    if (offset + bytes <= this.ram.length) {
      value = bytes === 4 ? this.#view.getInt32(offset, true) : this.#view.getUint16(offset, true);
    } else {
      value = this.#bus.load(address >>> 0, bytes, this.retired);
      if (value === undefined) return CAUSE.loadAccess;
    }
    const unused = 32 - 8 * bytes;
    this.registers[rd] = signed ? (value << unused) >> unused : value;
    return DONE_OUTSIDE;
  }

  /** A store that is misaligned or not to RAM. Returns DONE_OUTSIDE or the exception's cause. */
  storeSlowly(address: number, bytes: number, value: number): number {
    const offset = (address ^ RAM_BASE_SIGNED) >>> 0;
    if (offset + bytes <= this.ram.length) {
      if (bytes === 4) this.#view.setInt32(offset, value, true);
      else this.#view.setUint16(offset, value, true);
      this.writeMap[offset >>> this.writeMapShift] = 1;
      this.writeMap[(offset + bytes - 1) >>> this.writeMapShift] = 1;
      return DONE_OUTSIDE;
    }
    if (!this.#bus.store(address >>> 0, bytes, value, this.retired)) return CAUSE.storeAccess;
    this.attention = true;
    return DONE_OUTSIDE;
  }

  /**
   * Executes an operation that the main loop does not, at this.pc; sets this.pc to the next one. Returns as
   * loadSlowly does, with trapValue for mtval.
   */
  executeRare(operation: number, word: number, rd: number, immediate: number): number {
    const rs1 = (word >>> 15) & 31;
    const a = this.registers[rs1]!;
    const b = this.registers[(word >>> 20) & 31]!;
    this.trapValue = 0;
    switch (operation) {
      case OPERATION.ecall:
        return CAUSE.ecall;
      case OPERATION.ebreak:
        return CAUSE.breakpoint;
      case OPERATION.mret:
        this.#returnFromTrap();
        return DONE_OUTSIDE;
      case OPERATION.wfi:
        this.waiting = true;
        this.attention = true;
        this.pc = (this.pc + 4) | 0;
        return DONE_OUTSIDE;
      case OPERATION.misalignedJump:
        return this.#jumpMisaligned(word, immediate, a, b);
      case OPERATION.csrrw:
        return this.#accessControlRegister(word, rd, immediate, true, () => a);
      case OPERATION.csrrs:
        return this.#accessControlRegister(word, rd, immediate, rs1 !== 0, (old) => old | a);
      case OPERATION.csrrc:
        return this.#accessControlRegister(word, rd, immediate, rs1 !== 0, (old) => old & ~a);
      case OPERATION.csrrwi:
        return this.#accessControlRegister(word, rd, immediate, true, () => rs1);
      case OPERATION.csrrsi:
        return this.#accessControlRegister(word, rd, immediate, rs1 !== 0, (old) => old | rs1);
      case OPERATION.csrrci:
        return this.#accessControlRegister(word, rd, immediate, rs1 !== 0, (old) => old & ~rs1);
      case OPERATION.illegal:
        this.trapValue = word;
        return CAUSE.illegalInstruction;
      default:
        return this.#executeAtomic(operation, rd, a, b);
    }
  }

  #returnFromTrap(): void {
    const control = this.control;
    const enabled = control.mstatus & MSTATUS_MPIE;
    control.mstatus = (control.mstatus & ~MSTATUS_MIE) | MSTATUS_MPIE | (enabled ? MSTATUS_MIE : 0);
    this.pc = control.mepc;
    this.reservation.offset = -1;
    this.attention = true;
  }

  /** A branch or jal whose target is not a multiple of 4: an exception of the jump itself, if it is taken. */
  #jumpMisaligned(word: number, immediate: number, a: number, b: number): number {
    if ((word & 0x7f) === BRANCH_OPCODE && !branchTaken((word >>> 12) & 7, a, b)) {
      this.pc = (this.pc + 4) | 0;
      return DONE_OUTSIDE;
    }
    this.trapValue = (this.pc + immediate) | 0;
    return CAUSE.instructionMisaligned;
  }

  #accessControlRegister(
    word: number,
    rd: number,
    address: number,
    writes: boolean,
    change: (old: number) => number,
  ): number {
    const old = this.control.read(address, this.retired);
    // Bits 11 and 10 of the address both set: read-only.
    if (old === undefined || (writes && address >>> 10 === 3)) {
      this.trapValue = word;
      return CAUSE.illegalInstruction;
    }
    if (writes) {
      this.control.write(address, change(old), this.retired);
      this.attention = true;
    }
    this.registers[rd] = old;
    this.pc = (this.pc + 4) | 0;
    return DONE_OUTSIDE;
  }

  #executeAtomic(operation: number, rd: number, address: number, source: number): number {
    const loads = operation === OPERATION['lr.w'];
    const offset = (address ^ RAM_BASE_SIGNED) >>> 0;
    this.trapValue = address;
    if (operation === OPERATION['sc.w'] && offset !== this.reservation.offset) {
      this.reservation.offset = -1;
      this.registers[rd] = 1;
      this.pc = (this.pc + 4) | 0;
      return DONE_OUTSIDE;
    }
    if ((address & 3) !== 0) return loads ? CAUSE.loadMisaligned : CAUSE.storeMisaligned;
    if (offset > this.ram.length - 4) return loads ? CAUSE.loadAccess : CAUSE.storeAccess;
    const old = this.words[offset >>> 2]!;
    if (loads) {
      this.reservation.offset = offset;
      this.reservation.value = old;
      this.registers[rd] = old;
    } else if (operation === OPERATION['sc.w']) {
      // As QEMU does it: the reservation holds while the word is what LR read.
      const holds = old === this.reservation.value;
      this.reservation.offset = -1;
      if (holds) this.#storeAtomically(offset, source);
      this.registers[rd] = holds ? 0 : 1;
    } else {
      this.#storeAtomically(offset, combineAtomically(operation, old, source));
      this.registers[rd] = old;
    }
    this.pc = (this.pc + 4) | 0;
    return DONE_OUTSIDE;
  }

  #storeAtomically(offset: number, value: number): void {
    this.words[offset >>> 2] = value;
    this.writeMap[offset >>> this.writeMapShift] = 1;
  }
}
