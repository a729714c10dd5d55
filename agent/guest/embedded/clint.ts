/**
 * Instructions per tick of the machine's clock. The clock is the virt board's 10 MHz, so an instruction takes 10 ns of
 * guest time: about what the interpreter does, so that a busy guest's second is not far from a second outside.
 */
export const INSTRUCTIONS_PER_TICK = 10;

/** Ticks of mtime in a second of guest time, as on QEMU's virt board. */
export const TICKS_PER_SECOND = 10_000_000;

const MASK_64 = (1n << 64n) - 1n;
const LOW_32 = 0xffff_ffffn;

/** Offsets within the CLINT's range. */
const MSIP = 0x0000;
const MTIMECMP = 0x4000;
const MTIMECMP_HIGH = 0x4004;
const MTIME = 0xbff8;
const MTIME_HIGH = 0xbffc;

export interface ClintState {
  softwareInterrupt: boolean;
  /** mtimecmp, 64 bits. */
  compare: bigint;
  /** Ticks that mtime is ahead of what the retired instructions account for, modulo 2^64. */
  skew: bigint;
}

/**
 * The core-local interruptor: software interrupt, clock and timer of the one hart. Its clock is a function of the
 * instructions retired, plus the time skipped while the hart waited: the same run sees the same times.
 */
export class Clint {
  softwareInterrupt = false;
  #compare = 0n;
  #skew = 0n;
  /** Count of retired instructions from which on the timer interrupt is pending; Infinity: none in reach. */
  #deadline = 0;

  /** mtime at `retired` instructions, 64 bits. */
  time(retired: number): bigint {
    return (BigInt(Math.floor(retired / INSTRUCTIONS_PER_TICK)) + this.#skew) & MASK_64;
  }

  /** The timer interrupt is pending once this many instructions have retired. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Moves mtime to mtimecmp, for a hart that waits. No effect if it is there already. */
  skipToTimer(retired: number): void {
    const now = this.time(retired);
    if (now >= this.#compare) return;
    this.#skew = (this.#skew + this.#compare - now) & MASK_64;
    this.#computeDeadline(retired);
  }

  /** Ticks from `retired` instructions to the timer interrupt; 0 if it is pending. */
  ticksToTimer(retired: number): number {
    const now = this.time(retired);
    return now >= this.#compare ? 0 : Number(this.#compare - now);
  }

  /** A word at `offset`; offsets that hold nothing read as zero, as on QEMU's board. */
  read(offset: number, retired: number): number {
    switch (offset) {
      case MSIP:
        return this.softwareInterrupt ? 1 : 0;
      case MTIMECMP:
        return Number(this.#compare & LOW_32);
      case MTIMECMP_HIGH:
        return Number(this.#compare >> 32n);
      case MTIME:
        return Number(this.time(retired) & LOW_32);
      case MTIME_HIGH:
        return Number(this.time(retired) >> 32n);
      default:
        return 0;
    }
  }

  /** Writes a word (signed or not) at `offset`. */
  write(offset: number, word: number, retired: number): void {
    const value = BigInt(word >>> 0);
    switch (offset) {
      case MSIP:
        this.softwareInterrupt = (word & 1) !== 0;
        return;
      case MTIMECMP:
        this.#compare = (this.#compare & ~LOW_32) | value;
        break;
      case MTIMECMP_HIGH:
        this.#compare = (this.#compare & LOW_32) | (value << 32n);
        break;
      case MTIME:
        this.#setTime((this.time(retired) & ~LOW_32) | value, retired);
        break;
      case MTIME_HIGH:
        this.#setTime((this.time(retired) & LOW_32) | (value << 32n), retired);
        break;
      default:
        return;
    }
    this.#computeDeadline(retired);
  }

  save(): ClintState {
    return { softwareInterrupt: this.softwareInterrupt, compare: this.#compare, skew: this.#skew };
  }

  load(state: ClintState, retired: number): void {
    this.softwareInterrupt = state.softwareInterrupt;
    this.#compare = state.compare;
    this.#skew = state.skew;
    this.#computeDeadline(retired);
  }

  #setTime(time: bigint, retired: number): void {
    this.#skew = (time - BigInt(Math.floor(retired / INSTRUCTIONS_PER_TICK))) & MASK_64;
  }

  #computeDeadline(retired: number): void {
    const now = this.time(retired);
    if (now >= this.#compare) {
      this.#deadline = 0;
      return;
    }
    const tick = Math.floor(retired / INSTRUCTIONS_PER_TICK) + Number(this.#compare - now);
    // Beyond 2^53 instructions counts are no longer exact, and no machine gets there.
    this.#deadline =
      tick < Number.MAX_SAFE_INTEGER / INSTRUCTIONS_PER_TICK ? tick * INSTRUCTIONS_PER_TICK : Infinity;
  }
}
