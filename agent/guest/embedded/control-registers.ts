import type { Clint } from './clint.js';
import { CSR } from './csr-addresses.js';

export const MSTATUS_MIE = 1 << 3;
export const MSTATUS_MPIE = 1 << 7;
/** The only privilege level is M, so the previous one is always M. */
const MSTATUS_MPP_M = 3 << 11;

export const INTERRUPT_SOFTWARE = 3;
export const INTERRUPT_TIMER = 7;
const MIE_WRITABLE = (1 << 3) | (1 << 7) | (1 << 11);

/** RV32, extensions A, I, M. */
const MISA = (1 << 30) | (1 << 0) | (1 << 8) | (1 << 12);

const MASK_64 = (1n << 64n) - 1n;
const LOW_32 = 0xffff_ffffn;

export interface ControlRegistersState {
  mstatus: number;
  mie: number;
  mtvec: number;
  mscratch: number;
  mepc: number;
  mcause: number;
  mtval: number;
  /** What mcycle and minstret are ahead of the retired instructions, modulo 2^64. */
  cycleOffset: bigint;
  instretOffset: bigint;
}

/**
 * The control and status registers of a hart that has machine mode alone. What QEMU's has beyond it (bits and
 * registers of modes, of performance events, of debugging) is absent or reads as zero, as the specification allows.
 */
export class ControlRegisters {
  readonly #clint: Clint;
  mstatus = MSTATUS_MPP_M;
  mie = 0;
  mtvec = 0;
  mscratch = 0;
  mepc = 0;
  mcause = 0;
  mtval = 0;
  #cycleOffset = 0n;
  #instretOffset = 0n;

  constructor(clint: Clint) {
    this.#clint = clint;
  }

  /** Pending interrupts, as mip shows them. */
  pending(retired: number): number {
    const timer = retired >= this.#clint.deadline ? 1 << INTERRUPT_TIMER : 0;
    const software = this.#clint.softwareInterrupt ? 1 << INTERRUPT_SOFTWARE : 0;
    return timer | software;
  }

  /** The value of the CSR at `address` as a signed word; undefined: there is none. */
  read(address: number, retired: number): number | undefined {
    switch (address) {
      case CSR.mstatus:
        return this.mstatus;
      case CSR.misa:
        return MISA;
      case CSR.mie:
        return this.mie;
      case CSR.mtvec:
        return this.mtvec;
      case CSR.mscratch:
        return this.mscratch;
      case CSR.mepc:
        return this.mepc;
      case CSR.mcause:
        return this.mcause;
      case CSR.mtval:
        return this.mtval;
      case CSR.mip:
        return this.pending(retired);
      case CSR.mcycle:
      case CSR.cycle:
        return Number(this.#counter(retired, this.#cycleOffset) & LOW_32) | 0;
      case CSR.mcycleh:
      case CSR.cycleh:
        return Number(this.#counter(retired, this.#cycleOffset) >> 32n) | 0;
      case CSR.minstret:
      case CSR.instret:
        return Number(this.#counter(retired, this.#instretOffset) & LOW_32) | 0;
      case CSR.minstreth:
      case CSR.instreth:
        return Number(this.#counter(retired, this.#instretOffset) >> 32n) | 0;
      case CSR.time:
        return Number(this.#clint.time(retired) & LOW_32) | 0;
      case CSR.timeh:
        return Number(this.#clint.time(retired) >> 32n) | 0;
      case CSR.mstatush:
      case CSR.mcountinhibit:
      case CSR.mvendorid:
      case CSR.marchid:
      case CSR.mimpid:
      case CSR.mhartid:
      case CSR.mconfigptr:
        return 0;
      default:
        // mhpmevent3 to mhpmevent31: no events are counted.
        return address >= 0x323 && address <= 0x33f ? 0 : undefined;
    }
  }

  /** Writes a CSR that read() knows and whose address does not say read-only. Bits that cannot change stay. */
  write(address: number, value: number, retired: number): void {
    switch (address) {
      case CSR.mstatus:
        this.mstatus = (value & (MSTATUS_MIE | MSTATUS_MPIE)) | MSTATUS_MPP_M;
        break;
      case CSR.mie:
        this.mie = value & MIE_WRITABLE;
        break;
      case CSR.mtvec:
        // Modes 2 and 3 are reserved: QEMU ignores the write, and so does this.
        if ((value & 3) < 2) this.mtvec = value;
        break;
      case CSR.mscratch:
        this.mscratch = value;
        break;
      case CSR.mepc:
        this.mepc = value & ~3;
        break;
      case CSR.mcause:
        this.mcause = value;
        break;
      case CSR.mtval:
        this.mtval = value;
        break;
      case CSR.mcycle:
      case CSR.mcycleh:
        this.#cycleOffset = this.#offset(address === CSR.mcycleh, value, retired, this.#cycleOffset);
        break;
      case CSR.minstret:
      case CSR.minstreth:
        this.#instretOffset = this.#offset(address === CSR.minstreth, value, retired, this.#instretOffset);
        break;
      default:
        break;
    }
  }

  save(): ControlRegistersState {
    const { mstatus, mie, mtvec, mscratch, mepc, mcause, mtval } = this;
    const cycleOffset = this.#cycleOffset;
    const instretOffset = this.#instretOffset;
    return { mstatus, mie, mtvec, mscratch, mepc, mcause, mtval, cycleOffset, instretOffset };
  }

  /** Takes over a state; bits that cannot be set are not. */
  load(state: ControlRegistersState): void {
    this.write(CSR.mstatus, state.mstatus, 0);
    this.write(CSR.mie, state.mie, 0);
    this.write(CSR.mtvec, state.mtvec, 0);
    this.write(CSR.mepc, state.mepc, 0);
    this.mscratch = state.mscratch;
    this.mcause = state.mcause;
    this.mtval = state.mtval;
    this.#cycleOffset = state.cycleOffset;
    this.#instretOffset = state.instretOffset;
  }

  #counter(retired: number, offset: bigint): bigint {
    return (BigInt(retired) + offset) & MASK_64;
  }

  /** The offset with which the counter's half has `value` for the instruction after the one that writes it. */
  #offset(high: boolean, value: number, retired: number, offset: bigint): bigint {
    const before = this.#counter(retired, offset);
    const half = BigInt(value >>> 0);
    const after = high ? (before & LOW_32) | (half << 32n) : (before & ~LOW_32 & MASK_64) | half;
    return (after - BigInt(retired + 1)) & MASK_64;
  }
}
