import { DECODED_LENGTH, decodeInto } from './decode.js';
import { CAUSE, DONE, DONE_OUTSIDE, RAM_BASE_SIGNED, type Hart } from './hart.js';

/** Entries of a decode cache: 64 KiB of machine code without collisions, in 256 KiB that stay in the L2 cache. */
const DECODE_CACHE_ENTRIES = 16_384;
const SLOT_MASK = DECODE_CACHE_ENTRIES * DECODED_LENGTH - 1;

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
 * Instructions decoded before, looked up by address and checked against the word itself: nothing has to be told when
 * code or all of memory changes, and what a hart does never depends on what is in here.
 */
export function createDecodeCache(): Int32Array {
  return new Int32Array(DECODE_CACHE_ENTRIES * DECODED_LENGTH);
}

/**
 * Executes up to `steps` instructions, those that trap included, and returns how many; fewer if one of them sets
 * `attention`. The cases are literals, in the order of OPERATION: V8 makes a jump table of those alone.
 */
export function execute(hart: Hart, decoded: Int32Array, steps: number): number {
  const registers = hart.registers;
  const words = hart.words;
  const ram = hart.ram;
  const writeMap = hart.writeMap;
  const writeMapShift = hart.writeMapShift;
  const lastWord = (ram.length - 4) >>> 0;
  // retired = bias - left at any moment: the loop counts one number down, not two.
  let bias = hart.retired + steps;
  let left = steps;
  let pc = hart.pc;
  hart.attention = false;

  while (left > 0) {
    const fetch = (pc ^ RAM_BASE_SIGNED) >>> 0;
    if (fetch > lastWord) {
      hart.pc = pc;
      hart.trap(CAUSE.instructionAccess, pc);
      pc = hart.pc;
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
          hart.retired = bias - left;
          cause = hart.loadSlowly(value, 1, true, rd);
        }
        break;
      }
      case 12: {
        // lh
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset <= lastWord) registers[rd] = ((ram[offset]! | (ram[offset + 1]! << 8)) << 16) >> 16;
        else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.loadSlowly(value, 2, true, rd);
        }
        break;
      }
      case 13: {
        // lw
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset <= lastWord && (offset & 3) === 0) registers[rd] = words[offset >>> 2]!;
        else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.loadSlowly(value, 4, false, rd);
        }
        break;
      }
      case 14: {
        // lbu
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset < ram.length) registers[rd] = ram[offset]!;
        else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.loadSlowly(value, 1, false, rd);
        }
        break;
      }
      case 15: {
        // lhu
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset <= lastWord) registers[rd] = ram[offset]! | (ram[offset + 1]! << 8);
        else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.loadSlowly(value, 2, false, rd);
        }
        break;
      }
      case 16: {
        // sb
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset < ram.length) {
          ram[offset] = registers[(word >>> 20) & 31]!;
          writeMap[offset >>> writeMapShift] = 1;
        } else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.storeSlowly(value, 1, registers[(word >>> 20) & 31]!);
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
          writeMap[offset >>> writeMapShift] = 1;
        } else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.storeSlowly(value, 2, registers[(word >>> 20) & 31]!);
        }
        break;
      }
      case 18: {
        // sw
        const offset = ((a + immediate) ^ RAM_BASE_SIGNED) >>> 0;
        if (offset <= lastWord && (offset & 3) === 0) {
          words[offset >>> 2] = registers[(word >>> 20) & 31]!;
          writeMap[offset >>> writeMapShift] = 1;
        } else {
          value = a + immediate;
          hart.retired = bias - left;
          cause = hart.storeSlowly(value, 4, registers[(word >>> 20) & 31]!);
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
        hart.pc = pc;
        hart.retired = bias - left;
        cause = hart.executeRare(decoded[slot + 1]!, word, rd, immediate);
        next = hart.pc;
        value = hart.trapValue;
    }

    left -= 1;
    if (cause === DONE) {
      pc = next;
    } else if (cause === DONE_OUTSIDE) {
      pc = next;
      if (hart.attention) break;
    } else {
      hart.pc = pc;
      hart.trap(cause, value);
      pc = hart.pc;
      bias -= 1;
    }
  }
  hart.pc = pc;
  hart.retired = bias - left;
  return steps - left;
}
