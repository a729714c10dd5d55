/**
 * What an instruction word means to the interpreter: an operation number, its destination and its immediate.
 * The numbers appear as literals in the interpreter's switch, because V8 makes a jump table of literal cases only.
 */

/** Operation numbers by mnemonic. Zero is no instruction, so that a word of zeros is none. */
export const OPERATION = {
  illegal: 0,
  lui: 1, auipc: 2, jal: 3, jalr: 4,
  beq: 5, bne: 6, blt: 7, bge: 8, bltu: 9, bgeu: 10,
  lb: 11, lh: 12, lw: 13, lbu: 14, lhu: 15,
  sb: 16, sh: 17, sw: 18,
  addi: 19, slti: 20, sltiu: 21, xori: 22, ori: 23, andi: 24, slli: 25, srli: 26, srai: 27,
  add: 28, sub: 29, sll: 30, slt: 31, sltu: 32, xor: 33, srl: 34, sra: 35, or: 36, and: 37,
  mul: 38, mulh: 39, mulhsu: 40, mulhu: 41, div: 42, divu: 43, rem: 44, remu: 45,
  fence: 46,
  'lr.w': 47, 'sc.w': 48, 'amoswap.w': 49, 'amoadd.w': 50, 'amoxor.w': 51, 'amoand.w': 52, 'amoor.w': 53,
  'amomin.w': 54, 'amomax.w': 55, 'amominu.w': 56, 'amomaxu.w': 57,
  ecall: 58, ebreak: 59, mret: 60, wfi: 61,
  csrrw: 62, csrrs: 63, csrrc: 64, csrrwi: 65, csrrsi: 66, csrrci: 67,
  misalignedJump: 68,
} as const; // prettier-ignore

const O = OPERATION;

/** Names of the operations in the order of their numbers. */
export const MNEMONICS: readonly string[] = Object.keys(OPERATION);

const BRANCHES = [O.beq, O.bne, O.illegal, O.illegal, O.blt, O.bge, O.bltu, O.bgeu] as const;
const LOADS = [O.lb, O.lh, O.lw, O.illegal, O.lbu, O.lhu, O.illegal, O.illegal] as const;
const STORES = [O.sb, O.sh, O.sw] as const;
const IMMEDIATES = [O.addi, O.slli, O.slti, O.sltiu, O.xori, O.srli, O.ori, O.andi] as const;
const REGISTERS = [O.add, O.sll, O.slt, O.sltu, O.xor, O.srl, O.or, O.and] as const;
const MULTIPLIES = [O.mul, O.mulh, O.mulhsu, O.mulhu, O.div, O.divu, O.rem, O.remu] as const;
const CSRS = [O.illegal, O.csrrw, O.csrrs, O.csrrc, O.illegal, O.csrrwi, O.csrrsi, O.csrrci] as const;
const ATOMICS = new Map<number, number>([
  [0x00, O['amoadd.w']], [0x01, O['amoswap.w']], [0x03, O['sc.w']], [0x04, O['amoxor.w']],
  [0x08, O['amoor.w']], [0x0c, O['amoand.w']], [0x10, O['amomin.w']], [0x14, O['amomax.w']],
  [0x18, O['amominu.w']], [0x1c, O['amomaxu.w']],
]); // prettier-ignore

function operationOf(word: number): number {
  const funct3 = (word >>> 12) & 7;
  const funct7 = word >>> 25;
  switch (word & 0x7f) {
    case 0x37:
      return O.lui;
    case 0x17:
      return O.auipc;
    case 0x6f:
      return O.jal;
    case 0x67:
      return funct3 === 0 ? O.jalr : O.illegal;
    case 0x63:
      return BRANCHES[funct3] ?? O.illegal;
    case 0x03:
      return LOADS[funct3] ?? O.illegal;
    case 0x23:
      return STORES[funct3] ?? O.illegal;
    case 0x13:
      if (funct3 === 1) return funct7 === 0 ? O.slli : O.illegal;
      if (funct3 === 5) return funct7 === 0 ? O.srli : funct7 === 0x20 ? O.srai : O.illegal;
      return IMMEDIATES[funct3] ?? O.illegal;
    case 0x33:
      if (funct7 === 0) return REGISTERS[funct3] ?? O.illegal;
      if (funct7 === 1) return MULTIPLIES[funct3] ?? O.illegal;
      if (funct7 === 0x20) return funct3 === 0 ? O.sub : funct3 === 5 ? O.sra : O.illegal;
      return O.illegal;
    case 0x0f:
      // fence and fence.i: this machine has one hart, and decodes what is in memory, so both do nothing.
      return funct3 <= 1 ? O.fence : O.illegal;
    case 0x2f:
      if (funct3 !== 2) return O.illegal;
      if (funct7 >>> 2 === 0x02) return ((word >>> 20) & 31) === 0 ? O['lr.w'] : O.illegal;
      return ATOMICS.get(funct7 >>> 2) ?? O.illegal;
    case 0x73:
      if (funct3 !== 0) return CSRS[funct3] ?? O.illegal;
      if (word === 0x00000073) return O.ecall;
      if (word === 0x00100073) return O.ebreak;
      if (word === 0x30200073) return O.mret;
      if (word === 0x10500073) return O.wfi;
      return O.illegal;
    default:
      return O.illegal;
  }
}

function immediateOf(word: number): number {
  switch (word & 0x7f) {
    case 0x37:
    case 0x17:
      return word & ~0xfff;
    case 0x6f:
      return (
        ((word >> 31) << 20) | (word & 0xff000) | (((word >>> 20) & 1) << 11) | (((word >>> 21) & 0x3ff) << 1)
      );
    case 0x63:
      return (
        ((word >> 31) << 12) |
        (((word >>> 7) & 1) << 11) |
        (((word >>> 25) & 0x3f) << 5) |
        (((word >>> 8) & 0xf) << 1)
      );
    case 0x23:
      return ((word >> 25) << 5) | ((word >>> 7) & 31);
    case 0x13:
      // A shift's amount is the low five bits; JavaScript's shifts take no others.
      return word >> 20;
    case 0x73:
      return word >>> 20;
    default:
      return word >> 20;
  }
}

/** Register number that takes writes to x0, so that the interpreter needs no test for it. */
export const DISCARD_REGISTER = 32;

/** Int32 numbers per entry of a decode cache: the word, its operation, its destination, its immediate. */
export const DECODED_LENGTH = 4;

/** Fills the entry at `slot` (an index of `cache`) with the meaning of `word` (signed 32 bits). */
export function decodeInto(cache: Int32Array, slot: number, word: number): void {
  const rd = (word >>> 7) & 31;
  const operation = operationOf(word);
  const immediate = immediateOf(word);
  // Jumps are encoded by a distance from an address that is a multiple of 4: the distance tells.
  const jumps = operation === O.jal || (operation >= O.beq && operation <= O.bgeu);
  cache[slot] = word;
  cache[slot + 1] = jumps && (immediate & 3) !== 0 ? O.misalignedJump : operation;
  cache[slot + 2] = rd === 0 ? DISCARD_REGISTER : rd;
  cache[slot + 3] = immediate;
}
