import { branchTaken, combineAtomically } from './rare-operations.js';
import { ControlRegisters, MSTATUS_MIE, MSTATUS_MPIE } from './control-registers.js';
import { DECODED_LENGTH, OPERATION, decodeInto } from './decode.js';
import type { DeviceBus } from './device-bus.js';

/** Physical address of the first byte of RAM. */
export const RAM_BASE = 0x8000_0000;
const RAM_BASE_SIGNED = RAM_BASE | 0;

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

/** Entries of the decode cache: 1 MiB of machine code without collisions, in 256 KiB that stay in the L2 cache. */
const DECODE_CACHE_ENTRIES = 16_384;
const SLOT_MASK = DECODE_CACHE_ENTRIES * DECODED_LENGTH - 1;

const BRANCH_OPCODE = 0x63;

/** How an instruction ended, where it is no exception: as most do, or having done something outside of the loop. */
const DONE = -1;
const DONE_OUTSIDE = -2;

const { imul } = Math;

/** The upper 32 bits of the product of two unsigned words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) | 0;
}

/**
 * The interpreter of one RV32IMA + Zicsr hart in machine mode. It executes what is in memory now: the decode cache
 * is looked up by address and checked against the instruction word itself, so that nothing has to be told when code
 * or all of memory changes, and a run does not depend on what was cached.
 */
export class Cpu {
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

  readonly #ram: Uint8Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #bus: DeviceBus;
  readonly #decoded = new Int32Array(DECODE_CACHE_ENTRIES * DECODED_LENGTH);
  #logging = false;
  #writeMap: Uint8Array = new Uint8Array(1);
  #trapValue = 0;

  constructor(ram: SharedArrayBuffer, bus: DeviceBus) {
    this.#ram = new Uint8Array(ram);
    this.#words = new Int32Array(ram);
    this.#view = new DataView(ram);
    this.#bus = bus;
    this.control = new ControlRegisters(bus.clint);
  }

  /** From the next instruction on every store sets the byte of its page in `map`; null: no longer. */
  logWrites(map: Uint8Array | null): void {
    this.#logging = map !== null;
    if (map !== null) this.#writeMap = map;
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

  /**
   * Executes up to `steps` instructions, those that trap included, and returns how many; fewer if `attention` or
   * `waiting` is set by one of them.
   */
  execute(steps: number): number {
    const registers = this.registers;
    const words = this.#words;
    const ram = this.#ram;
    const decoded = this.#decoded;
    const logging = this.#logging;
    const writeMap = this.#writeMap;
    const lastWord = (ram.length - 4) >>> 0;
    // retired = bias - left at any moment: the loop counts one number down, not two.
    let bias = this.retired + steps;
    let left = steps;
    let pc = this.pc;
    this.attention = false;

    while (left > 0) {
      const fetch = (pc ^ RAM_BASE_SIGNED) >>> 0;
      if (fetch > lastWord) {
        this.pc = pc;
        this.trap(CAUSE.instructionAccess, pc);
        pc = this.pc;
        bias -= 1;
        left -= 1;
        continue;
      }
      const word = words[fetch >>> 2]!;
      const slot = fetch & SLOT_MASK;
      if (decoded[slot] !== word) decodeInto(decoded, slot, word);
      const rd = decoded[slot + 2]!;
      const immediate = decoded[slot + 3]!;
      const a = registers[(word >>> 15) & 31]!;
      let cause = DONE;
      let value = 0;
      let next = (pc + 4) | 0;

      switch (decoded[slot + 1]) {
        case 1: // lui
          registers[rd] = immediate;
          break;
        case 2: // auipc
          registers[rd] = pc + immediate;
          break;
        case 3: // jal
          next = (pc + immediate) | 0;
          if ((next & 3) !== 0) {
            cause = CAUSE.instructionMisaligned;
            value = next;
          } else registers[rd] = pc + 4;
          break;
        case 4: // jalr
          next = (a + immediate) & ~1;
          if ((next & 3) !== 0) {
            cause = CAUSE.instructionMisaligned;
            value = next;
          } else registers[rd] = pc + 4;
          break;
        case 5: // beq
          if (a === registers[(word >>> 20) & 31]!) next = (pc + immediate) | 0;
          break;
        case 6: // bne
          if (a !== registers[(word >>> 20) & 31]!) next = (pc + immediate) | 0;
          break;
        case 7: // blt
          if (a < registers[(word >>> 20) & 31]!) next = (pc + immediate) | 0;
          break;
        case 8: // bge
          if (a >= registers[(word >>> 20) & 31]!) next = (pc + immediate) | 0;
          break;
        case 9: // bltu
          if (a >>> 0 < registers[(word >>> 20) & 31]! >>> 0) next = (pc + immediate) | 0;
          break;
        case 10: // bgeu
          if (a >>> 0 >= registers[(word >>> 20) & 31]! >>> 0) next = (pc + immediate) | 0;
          break;
        case 11: {
          // lb
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset < ram.length) registers[rd] = (ram[offset]! << 24) >> 24;
          else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#loadSlowly(value, 1, true, rd);
          }
          break;
        }
        case 12: {
          // lh
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset <= lastWord) registers[rd] = ((ram[offset]! | (ram[offset + 1]! << 8)) << 16) >> 16;
          else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#loadSlowly(value, 2, true, rd);
          }
          break;
        }
        case 13: {
          // lw
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset <= lastWord && (offset & 3) === 0) registers[rd] = words[offset >>> 2]!;
          else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#loadSlowly(value, 4, false, rd);
          }
          break;
        }
        case 14: {
          // lbu
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset < ram.length) registers[rd] = ram[offset]!;
          else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#loadSlowly(value, 1, false, rd);
          }
          break;
        }
        case 15: {
          // lhu
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset <= lastWord) registers[rd] = ram[offset]! | (ram[offset + 1]! << 8);
          else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#loadSlowly(value, 2, false, rd);
          }
          break;
        }
        case 16: {
          // sb
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset < ram.length) {
            ram[offset] = registers[(word >>> 20) & 31]!;
            if (logging) writeMap[offset >>> 12] = 1;
          } else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#storeSlowly(value, 1, registers[(word >>> 20) & 31]!);
          }
          break;
        }
        case 17: {
          // sh
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset <= lastWord && (offset & 1) === 0) {
            const half = registers[(word >>> 20) & 31]!;
            ram[offset] = half;
            ram[offset + 1] = half >>> 8;
            if (logging) writeMap[offset >>> 12] = 1;
          } else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#storeSlowly(value, 2, registers[(word >>> 20) & 31]!);
          }
          break;
        }
        case 18: {
          // sw
          const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
          if (offset <= lastWord && (offset & 3) === 0) {
            words[offset >>> 2] = registers[(word >>> 20) & 31]!;
            if (logging) writeMap[offset >>> 12] = 1;
          } else {
            value = a + immediate;
            this.retired = bias - left;
            cause = this.#storeSlowly(value, 4, registers[(word >>> 20) & 31]!);
          }
          break;
        }
        case 19: // addi
          registers[rd] = a + immediate;
          break;
        case 20: // slti
          registers[rd] = a < immediate ? 1 : 0;
          break;
        case 21: // sltiu
          registers[rd] = a >>> 0 < immediate >>> 0 ? 1 : 0;
          break;
        case 22: // xori
          registers[rd] = a ^ immediate;
          break;
        case 23: // ori
          registers[rd] = a | immediate;
          break;
        case 24: // andi
          registers[rd] = a & immediate;
          break;
        case 25: // slli
          registers[rd] = a << immediate;
          break;
        case 26: // srli
          registers[rd] = a >>> immediate;
          break;
        case 27: // srai
          registers[rd] = a >> immediate;
          break;
        case 28: // add
          registers[rd] = a + registers[(word >>> 20) & 31]!;
          break;
        case 29: // sub
          registers[rd] = a - registers[(word >>> 20) & 31]!;
          break;
        case 30: // sll
          registers[rd] = a << registers[(word >>> 20) & 31]!;
          break;
        case 31: // slt
          registers[rd] = a < registers[(word >>> 20) & 31]! ? 1 : 0;
          break;
        case 32: // sltu
          registers[rd] = a >>> 0 < registers[(word >>> 20) & 31]! >>> 0 ? 1 : 0;
          break;
        case 33: // xor
          registers[rd] = a ^ registers[(word >>> 20) & 31]!;
          break;
        case 34: // srl
          registers[rd] = a >>> registers[(word >>> 20) & 31]!;
          break;
        case 35: // sra
          registers[rd] = a >> registers[(word >>> 20) & 31]!;
          break;
        case 36: // or
          registers[rd] = a | registers[(word >>> 20) & 31]!;
          break;
        case 37: // and
          registers[rd] = a & registers[(word >>> 20) & 31]!;
          break;
        case 38: // mul
          registers[rd] = imul(a, registers[(word >>> 20) & 31]!);
          break;
        case 39: {
          // mulh
          const b = registers[(word >>> 20) & 31]!;
          registers[rd] = multiplyHigh(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0);
          break;
        }
        case 40: {
          // mulhsu
          const b = registers[(word >>> 20) & 31]!;
          registers[rd] = multiplyHigh(a, b) - (a < 0 ? b : 0);
          break;
        }
        case 41: // mulhu
          registers[rd] = multiplyHigh(a, registers[(word >>> 20) & 31]!);
          break;
        case 42: {
          // div; the quotient of the most negative number and -1 wraps to itself
          const b = registers[(word >>> 20) & 31]!;
          registers[rd] = b === 0 ? -1 : (a / b) | 0;
          break;
        }
        case 43: {
          // divu
          const b = registers[(word >>> 20) & 31]! >>> 0;
          registers[rd] = b === 0 ? -1 : ((a >>> 0) / b) | 0;
          break;
        }
        case 44: {
          // rem
          const b = registers[(word >>> 20) & 31]!;
          registers[rd] = b === 0 ? a : (a % b) | 0;
          break;
        }
        case 45: {
          // remu
          const b = registers[(word >>> 20) & 31]! >>> 0;
          registers[rd] = b === 0 ? a : ((a >>> 0) % b) | 0;
          break;
        }
        case 46: // fence, fence.i
          break;
        default:
          // Operations that are rare or long are not worth their place in this function.
          this.pc = pc;
          this.retired = bias - left;
          cause = this.#executeRare(decoded[slot + 1]!, word, rd, immediate);
          next = this.pc;
          value = this.#trapValue;
      }

      left -= 1;
      if (cause === DONE) {
        pc = next;
      } else if (cause === DONE_OUTSIDE) {
        pc = next;
        if (this.attention) break;
      } else {
        this.pc = pc;
        this.trap(cause, value);
        pc = this.pc;
        bias -= 1;
      }
    }
    this.pc = pc;
    this.retired = bias - left;
    return steps - left;
  }

  /** A load that is misaligned or not from RAM. Returns DONE_OUTSIDE or the exception's cause. */
  #loadSlowly(address: number, bytes: number, signed: boolean, rd: number): number {
    const offset = (address ^ RAM_BASE_SIGNED) >>> 0;
    let value: number | undefined;
    if (offset + bytes <= this.#ram.length) {
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
  #storeSlowly(address: number, bytes: number, value: number): number {
    const offset = (address ^ RAM_BASE_SIGNED) >>> 0;
    if (offset + bytes <= this.#ram.length) {
      if (bytes === 4) this.#view.setInt32(offset, value, true);
      else this.#view.setUint16(offset, value, true);
      if (this.#logging) {
        this.#writeMap[offset >>> 12] = 1;
        this.#writeMap[(offset + bytes - 1) >>> 12] = 1;
      }
      return DONE_OUTSIDE;
    }
    if (!this.#bus.store(address >>> 0, bytes, value, this.retired)) return CAUSE.storeAccess;
    this.attention = true;
    return DONE_OUTSIDE;
  }

  /**
   * Executes an operation that the main loop does not, at this.pc; sets this.pc to the next one. Returns as
   * #loadSlowly does, with #trapValue for mtval.
   */
  #executeRare(operation: number, word: number, rd: number, immediate: number): number {
    const rs1 = (word >>> 15) & 31;
    const a = this.registers[rs1]!;
    const b = this.registers[(word >>> 20) & 31]!;
    this.#trapValue = 0;
    switch (operation) {
      case OPERATION.ecall:
        return CAUSE.ecall;
      case OPERATION.ebreak:
        this.#trapValue = this.pc;
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
        this.#trapValue = word;
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
    this.#trapValue = (this.pc + immediate) | 0;
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
      this.#trapValue = word;
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
    this.#trapValue = address;
    if (operation === OPERATION['sc.w'] && offset !== this.reservation.offset) {
      this.reservation.offset = -1;
      this.registers[rd] = 1;
      this.pc = (this.pc + 4) | 0;
      return DONE_OUTSIDE;
    }
    if ((address & 3) !== 0) return loads ? CAUSE.loadMisaligned : CAUSE.storeMisaligned;
    if (offset > this.#ram.length - 4) return loads ? CAUSE.loadAccess : CAUSE.storeAccess;
    const old = this.#words[offset >>> 2]!;
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
    this.#words[offset >>> 2] = value;
    if (this.#logging) this.#writeMap[offset >>> 12] = 1;
  }
}
