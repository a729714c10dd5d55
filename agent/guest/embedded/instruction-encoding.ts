/**
 * How the instructions of RV32IMA + Zicsr are encoded: one table by format, and the functions that put operands
 * into the bits. The machine does not decode with this table, so that neither can hide an error of the other.
 * Source: The RISC-V Instruction Set Manual, Volume I: Unprivileged ISA, version 20191213, chapter 24.
 */

/** Names of the integer registers in the order of their numbers (the calling convention's names). */
export const REGISTERS = [
  'zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 's0', 's1', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5',
  'a6', 'a7', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 't3', 't4', 't5', 't6',
] as const; // prettier-ignore
export type Register = (typeof REGISTERS)[number];

const NUMBERS = new Map<string, number>(REGISTERS.map((name, index) => [name, index]));

/** The register's number, 0 to 31. */
export function registerNumber(register: Register): number {
  return NUMBERS.get(register) ?? 0;
}

/** Register-register operations: [funct7, funct3] of opcode OP. */
export const REGISTER_OPERATIONS = {
  add: [0x00, 0], sub: [0x20, 0], sll: [0x00, 1], slt: [0x00, 2], sltu: [0x00, 3], xor: [0x00, 4],
  srl: [0x00, 5], sra: [0x20, 5], or: [0x00, 6], and: [0x00, 7],
  mul: [0x01, 0], mulh: [0x01, 1], mulhsu: [0x01, 2], mulhu: [0x01, 3],
  div: [0x01, 4], divu: [0x01, 5], rem: [0x01, 6], remu: [0x01, 7],
} as const; // prettier-ignore
export type RegisterOperation = keyof typeof REGISTER_OPERATIONS;

/** Register-immediate operations: funct3 of opcode OP-IMM; the immediate is a signed 12-bit number. */
export const IMMEDIATE_OPERATIONS = { addi: 0, slti: 2, sltiu: 3, xori: 4, ori: 6, andi: 7 } as const;
export type ImmediateOperation = keyof typeof IMMEDIATE_OPERATIONS;

/** Shifts by a constant of 0 to 31: [funct7, funct3] of opcode OP-IMM. */
export const SHIFT_OPERATIONS = { slli: [0x00, 1], srli: [0x00, 5], srai: [0x20, 5] } as const;
export type ShiftOperation = keyof typeof SHIFT_OPERATIONS;

export const LOADS = { lb: 0, lh: 1, lw: 2, lbu: 4, lhu: 5 } as const;
export type Load = keyof typeof LOADS;

export const STORES = { sb: 0, sh: 1, sw: 2 } as const;
export type Store = keyof typeof STORES;

export const BRANCHES = { beq: 0, bne: 1, blt: 4, bge: 5, bltu: 6, bgeu: 7 } as const;
export type Branch = keyof typeof BRANCHES;

/** Atomic read-modify-writes of a word, and SC: funct5 of opcode AMO. LR has no rs2. */
export const ATOMICS = {
  'amoadd.w': 0x00, 'amoswap.w': 0x01, 'sc.w': 0x03, 'amoxor.w': 0x04, 'amoor.w': 0x08, 'amoand.w': 0x0c,
  'amomin.w': 0x10, 'amomax.w': 0x14, 'amominu.w': 0x18, 'amomaxu.w': 0x1c,
} as const; // prettier-ignore
export type Atomic = keyof typeof ATOMICS;

/** CSR instructions with a register operand, and those with a 5-bit constant: funct3 of opcode SYSTEM. */
export const CSR_OPERATIONS = { csrrw: 1, csrrs: 2, csrrc: 3 } as const;
export type CsrOperation = keyof typeof CSR_OPERATIONS;
export const CSR_IMMEDIATE_OPERATIONS = { csrrwi: 5, csrrsi: 6, csrrci: 7 } as const;
export type CsrImmediateOperation = keyof typeof CSR_IMMEDIATE_OPERATIONS;

/** Instructions without operands: the whole word. */
export const PLAIN = {
  ecall: 0x00000073,
  ebreak: 0x00100073,
  mret: 0x30200073,
  wfi: 0x10500073,
  fence: 0x0ff0000f,
  'fence.i': 0x0000100f,
} as const;
export type Plain = keyof typeof PLAIN;

const OPCODE = {
  load: 0x03, opImm: 0x13, auipc: 0x17, store: 0x23, amo: 0x2f, op: 0x33, lui: 0x37, branch: 0x63, jalr: 0x67,
  jal: 0x6f, system: 0x73,
} as const; // prettier-ignore

function checkRange(value: number, min: number, max: number, what: string): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${what} ${value} is not an integer of ${min} to ${max}`);
  }
}

function encodeR(
  opcode: number,
  funct3: number,
  funct7: number,
  rd: number,
  rs1: number,
  rs2: number,
): number {
  return ((funct7 << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode) >>> 0;
}

function encodeI(opcode: number, funct3: number, rd: number, rs1: number, immediate: number): number {
  return (((immediate & 0xfff) << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode) >>> 0;
}

/** `rd = rs1 op rs2`. */
export function encodeRegister(name: RegisterOperation, rd: Register, rs1: Register, rs2: Register): number {
  const [funct7, funct3] = REGISTER_OPERATIONS[name];
  return encodeR(OPCODE.op, funct3, funct7, registerNumber(rd), registerNumber(rs1), registerNumber(rs2));
}

/** `rd = rs1 op immediate`, -2048 to 2047. */
export function encodeImmediate(
  name: ImmediateOperation,
  rd: Register,
  rs1: Register,
  immediate: number,
): number {
  checkRange(immediate, -2048, 2047, `immediate of ${name}`);
  return encodeI(
    OPCODE.opImm,
    IMMEDIATE_OPERATIONS[name],
    registerNumber(rd),
    registerNumber(rs1),
    immediate,
  );
}

/** `rd = rs1 shifted by amount`, 0 to 31. */
export function encodeShift(name: ShiftOperation, rd: Register, rs1: Register, amount: number): number {
  checkRange(amount, 0, 31, `shift amount of ${name}`);
  const [funct7, funct3] = SHIFT_OPERATIONS[name];
  return encodeR(OPCODE.opImm, funct3, funct7, registerNumber(rd), registerNumber(rs1), amount);
}

/** `rd = memory[base + offset]`. */
export function encodeLoad(name: Load, rd: Register, offset: number, base: Register): number {
  checkRange(offset, -2048, 2047, `offset of ${name}`);
  return encodeI(OPCODE.load, LOADS[name], registerNumber(rd), registerNumber(base), offset);
}

/** `memory[base + offset] = source`. */
export function encodeStore(name: Store, source: Register, offset: number, base: Register): number {
  checkRange(offset, -2048, 2047, `offset of ${name}`);
  const high = (offset >> 5) & 0x7f;
  return encodeR(
    OPCODE.store, STORES[name], high, offset & 31, registerNumber(base), registerNumber(source),
  ); // prettier-ignore
}

/** Branch to the address of the instruction plus `offset` bytes, even, -4096 to 4094. */
export function encodeBranch(name: Branch, rs1: Register, rs2: Register, offset: number): number {
  checkRange(offset / 2, -2048, 2047, `half the offset of ${name}`);
  const low = (offset & 0x1e) | ((offset >> 11) & 1);
  const high = ((offset >> 5) & 0x3f) | (((offset >> 12) & 1) << 6);
  return encodeR(OPCODE.branch, BRANCHES[name], high, low, registerNumber(rs1), registerNumber(rs2));
}

/** `rd = return address`; jump by `offset` bytes, even, within 1 MiB. */
export function encodeJal(rd: Register, offset: number): number {
  checkRange(offset / 2, -(2 ** 19), 2 ** 19 - 1, 'half the offset of jal');
  const bits =
    (((offset >> 20) & 1) << 31) |
    (((offset >> 1) & 0x3ff) << 21) |
    (((offset >> 11) & 1) << 20) |
    (((offset >> 12) & 0xff) << 12);
  return (bits | (registerNumber(rd) << 7) | OPCODE.jal) >>> 0;
}

/** `rd = return address`; jump to `base + offset`. */
export function encodeJalr(rd: Register, offset: number, base: Register): number {
  checkRange(offset, -2048, 2047, 'offset of jalr');
  return encodeI(OPCODE.jalr, 0, registerNumber(rd), registerNumber(base), offset);
}

/** `lui` and `auipc`: `upper` is the 20-bit number for bits 31 to 12. */
export function encodeUpper(name: 'lui' | 'auipc', rd: Register, upper: number): number {
  checkRange(upper, 0, 0xfffff, `operand of ${name}`);
  return ((upper << 12) | (registerNumber(rd) << 7) | OPCODE[name]) >>> 0;
}

/** `rd = memory[address]; memory[address] = rd op source`, or SC. */
export function encodeAtomic(name: Atomic, rd: Register, source: Register, address: Register): number {
  return encodeR(
    OPCODE.amo, 2, ATOMICS[name] << 2, registerNumber(rd), registerNumber(address), registerNumber(source),
  ); // prettier-ignore
}

/** `rd = memory[address]`, and a reservation for it. */
export function encodeLoadReserved(rd: Register, address: Register): number {
  return encodeR(OPCODE.amo, 2, 0x02 << 2, registerNumber(rd), registerNumber(address), 0);
}

/** `rd = csr; csr = csr op source`. */
export function encodeCsr(name: CsrOperation, rd: Register, csr: number, source: Register): number {
  checkRange(csr, 0, 0xfff, 'CSR');
  return encodeI(OPCODE.system, CSR_OPERATIONS[name], registerNumber(rd), registerNumber(source), csr);
}

/** `rd = csr; csr = csr op constant`, 0 to 31. */
export function encodeCsrImmediate(
  name: CsrImmediateOperation,
  rd: Register,
  csr: number,
  constant: number,
): number {
  checkRange(csr, 0, 0xfff, 'CSR');
  checkRange(constant, 0, 31, `constant of ${name}`);
  return encodeI(OPCODE.system, CSR_IMMEDIATE_OPERATIONS[name], registerNumber(rd), constant, csr);
}
