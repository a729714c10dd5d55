import { Assembler } from '../../agent/guest/embedded/assembler.js';
import { DECODED_LENGTH, OPERATION, decodeInto } from '../../agent/guest/embedded/decode.js';
import * as encoding from '../../agent/guest/embedded/instruction-encoding.js';
import { REGISTERS, type Register } from '../../agent/guest/embedded/instruction-encoding.js';
import type { CsrName } from '../../agent/guest/embedded/csr-addresses.js';

/**
 * Programs of random instruction sequences, the same for the same seed. Each sequence starts from random registers,
 * executes a number of elements (an instruction with what it needs around it), and ends by printing as raw words x1
 * to x31, a checksum of the data, and a digest of all traps so far (cause, address, value).
 *
 * What is left out, and why: CSRs that count time or instructions (QEMU's follow the host's clock); bits of mstatus
 * and mie that belong to modes the machine has not (QEMU lets them be written); the value of mtval for a misaligned
 * branch or jal (QEMU leaves what was there); whether a misaligned atomic is a load's or a store's exception (with one
 * hart QEMU makes an AMO a load first, and reports that; the specification says store/AMO); and the address at which an interrupt is taken (QEMU looks for them
 * between blocks of instructions).
 */

export const RANDOM_PROGRAM_MEMORY_BYTES = 4 * 2 ** 20;

const ORIGIN = 0x80000000;
/** Data that sequences load and store: 4 KiB, gp points to its middle. QEMU has a device tree at 2 MiB. */
const DATA = ORIGIN + 2 ** 20;
const DATA_BYTES = 4096;
/** Where registers are kept while a trap is handled, and while they are printed. */
const TRAP_SAVE = DATA + DATA_BYTES;
const DUMP_SAVE = TRAP_SAVE + 256;
const TRAP_DIGEST = DUMP_SAVE + 256;

const UART = 0x10000000;
const CLINT = 0x02000000;
const FINISHER = 0x00100000;

/** Words printed per sequence: x1 to x31, data checksum, trap digest. */
export const WORDS_PER_SEQUENCE = 33;

/** Registers that sequences write; gp holds the data's address. */
const FREE = REGISTERS.filter((name) => name !== 'gp');

/** CSRs that read the same everywhere, whatever a sequence does. */
const CONSTANT_CSRS = ['misa', 'mhartid', 'mvendorid', 'mstatush', 'mconfigptr'] as const satisfies CsrName[];
/** CSRs that keep all 32 bits written to them. */
const PLAIN_CSRS = ['mcause', 'mtval'] as const satisfies CsrName[];
/** Addresses at which neither machine has a CSR. */
const ABSENT_CSRS = [
  0x000, 0x001, 0x003, 0x100, 0x105, 0x144, 0x180, 0x306, 0x3a0, 0x3b0, 0x5a8, 0x7a0, 0x7c0, 0xb03, 0xc03,
  0xfff,
];
/** Addresses that say read-only, and where both machines have a CSR. */
const READ_ONLY_CSRS = [
  'mhartid',
  'mvendorid',
  'marchid',
  'cycle',
  'time',
  'instret',
] as const satisfies CsrName[];

const INTERESTING = [
  0, 1, -1, 2, -2, 0x7fffffff, -0x80000000, -0x7fffffff, 0xff, 0x8000, 0xffff, 31, 32, 0x55555555,
];

/** mulberry32 (Tommy Ettinger, public domain): numbers from 0 to 2^32 - 1. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

class RandomProgram {
  readonly #program = new Assembler(ORIGIN);
  readonly #next: () => number;
  #labels = 0;
  readonly #elements: (() => void)[];

  constructor(seed: number) {
    this.#next = generator(seed);
    const often = (times: number, element: () => void) => Array.from({ length: times }, () => element);
    this.#elements = [
      ...often(14, () => this.#registerOperation()),
      ...often(8, () => this.#immediateOperation()),
      ...often(4, () => this.#shift()),
      ...often(2, () => this.#upper()),
      ...often(8, () => this.#load()),
      ...often(8, () => this.#store()),
      ...often(5, () => this.#branch()),
      ...often(2, () => this.#jump()),
      ...often(6, () => this.#atomic()),
      ...often(3, () => this.#reservation()),
      ...often(4, () => this.#controlRegister()),
      ...often(2, () => this.#absentControlRegister()),
      ...often(2, () => this.#status()),
      ...often(1, () => this.#illegal()),
      ...often(1, () => this.#environment()),
      ...often(1, () => this.#accessFault()),
      ...often(1, () => this.#misalignedJump()),
      ...often(1, () => this.#fetchFault()),
      ...often(1, () => this.#interrupt()),
      ...often(1, () => this.#waitForInterrupt()),
      ...often(1, () => this.#modifiedCode()),
    ];
  }

  build(sequences: number, elements: number): Uint8Array {
    const program = this.#program;
    program.la('t0', 'trap-table').opImmediate('ori', 't0', 't0', this.#below(2));
    program.csr('csrrw', 'zero', 'mtvec', 't0').li('t0', TRAP_SAVE).csr('csrrw', 'zero', 'mscratch', 't0');
    this.#setTimer(-1);
    for (let sequence = 0; sequence < sequences; sequence += 1) {
      for (const register of FREE) if (register !== 'zero') program.li(register, this.#value());
      program.li('gp', DATA + DATA_BYTES / 2);
      for (let element = 0; element < elements; element += 1) this.#pick(this.#elements)();
      program.csr('csrrw', 't6', 'mscratch', 't6');
      program.store('sw', 'ra', DUMP_SAVE - TRAP_SAVE + 4, 't6').call('dump');
    }
    program.li('t0', FINISHER).li('t1', 0x5555).store('sw', 't1', 0, 't0').label('end').j('end');
    this.#appendDump();
    this.#appendTrapHandler();
    return program.assemble();
  }

  // -- elements

  #registerOperation(): void {
    const names = Object.keys(encoding.REGISTER_OPERATIONS) as encoding.RegisterOperation[];
    const [rs1, rs2] = [this.#any(), this.#any()];
    // Random operands seldom meet the corner cases of division and multiplication.
    if (this.#below(4) === 0 && rs2 !== 'gp' && rs2 !== 'zero')
      this.#program.li(rs2, this.#pick(INTERESTING));
    if (this.#below(8) === 0 && rs1 !== 'gp' && rs1 !== 'zero')
      this.#program.li(rs1, this.#pick(INTERESTING));
    this.#program.op(this.#pick(names), this.#free(), rs1, rs2);
  }

  #immediateOperation(): void {
    const names = Object.keys(encoding.IMMEDIATE_OPERATIONS) as encoding.ImmediateOperation[];
    this.#program.opImmediate(this.#pick(names), this.#free(), this.#any(), this.#below(4096) - 2048);
  }

  #shift(): void {
    const names = Object.keys(encoding.SHIFT_OPERATIONS) as encoding.ShiftOperation[];
    this.#program.shift(this.#pick(names), this.#free(), this.#any(), this.#below(32));
  }

  #upper(): void {
    this.#program[this.#below(2) ? 'lui' : 'auipc'](this.#free(), this.#below(2 ** 20));
  }

  #load(): void {
    const names = Object.keys(encoding.LOADS) as encoding.Load[];
    this.#program.load(this.#pick(names), this.#free(), this.#below(4092) - 2048, 'gp');
  }

  #store(): void {
    const names = Object.keys(encoding.STORES) as encoding.Store[];
    this.#program.store(this.#pick(names), this.#any(), this.#below(4092) - 2048, 'gp');
  }

  #branch(): void {
    const label = this.#label();
    const names = Object.keys(encoding.BRANCHES) as encoding.Branch[];
    const rs1 = this.#any();
    this.#program.branch(this.#pick(names), rs1, this.#below(5) === 0 ? rs1 : this.#any(), label);
    for (let skipped = this.#below(3); skipped >= 0; skipped -= 1) this.#immediateOperation();
    this.#program.label(label);
  }

  #jump(): void {
    const label = this.#label();
    if (this.#below(2)) this.#program.jal(this.#free(), label);
    else {
      const base = this.#writable();
      this.#program.la(base, label).opImmediate('addi', base, base, 100).jalr(this.#free(), -100, base);
    }
    this.#registerOperation();
    this.#program.label(label);
  }

  #atomic(): void {
    const names = Object.keys(encoding.ATOMICS) as encoding.Atomic[];
    const address = this.#dataAddress(this.#below(12) === 0);
    this.#program.atomic(this.#pick(names), this.#free(), this.#any(), address);
  }

  /** LR and SC, with and without something in between that ends the reservation. */
  #reservation(): void {
    const address = this.#dataAddress(this.#below(16) === 0);
    this.#program.loadReserved(this.#without(address), address);
    switch (this.#below(6)) {
      case 0:
        this.#program.store('sw', this.#any(), 0, address);
        break;
      case 1:
        this.#program.plain('ecall');
        break;
      case 2:
        this.#program.opImmediate('addi', address, address, this.#below(2) ? 4 : -4);
        break;
      default:
        this.#program.opImmediate('addi', this.#without(address), this.#any(), 1);
    }
    this.#program.atomic('sc.w', this.#without(address), this.#any(), address);
    if (this.#below(2)) this.#program.atomic('sc.w', this.#free(), this.#any(), address);
  }

  #controlRegister(): void {
    const program = this.#program;
    const rd = this.#free();
    const name = this.#pick(['csrrw', 'csrrs', 'csrrc'] as const);
    switch (this.#below(5)) {
      case 0:
        program.csr('csrrs', rd, this.#pick(CONSTANT_CSRS), 'zero');
        break;
      case 1:
        program.csr(name, rd, this.#pick(PLAIN_CSRS), this.#any());
        break;
      case 2:
        program.csrImmediate(`${name}i`, rd, this.#pick(PLAIN_CSRS), this.#below(32));
        break;
      case 3: {
        const source = this.#writable();
        program
          .li(source, this.#next() & ~3)
          .csr('csrrw', 'zero', 'mepc', source)
          .csr('csrrs', rd, 'mepc', 'zero');
        break;
      }
      default:
        // mtvec is where traps go: it is read, and written with a mode that is reserved and so ignored.
        program.csr('csrrs', rd, 'mtvec', 'zero').csrImmediate('csrrwi', this.#free(), 'mtvec', 2);
    }
  }

  #absentControlRegister(): void {
    const program = this.#program;
    const name = this.#pick(['csrrw', 'csrrs', 'csrrc'] as const);
    switch (this.#below(4)) {
      case 0:
        program.csr('csrrw', this.#free(), this.#pick(READ_ONLY_CSRS), this.#any());
        break;
      case 1:
        program.csrImmediate(`${name}i`, this.#free(), this.#pick(READ_ONLY_CSRS), 1 + this.#below(31));
        break;
      default:
        program.csr(name, this.#free(), this.#pick(ABSENT_CSRS), this.#any());
    }
  }

  /** mstatus and mie, in the bits that the machine has. */
  #status(): void {
    const program = this.#program;
    const rd = this.#writable();
    const mask = this.#writable();
    const operation = this.#pick(['csrrs', 'csrrc'] as const);
    if (this.#below(2)) {
      program.li(mask, this.#pick([0, 0x8, 0x80, 0x88])).csr(operation, 'zero', 'mstatus', mask);
      program.csr('csrrs', rd, 'mstatus', 'zero').opImmediate('andi', rd, rd, 0x88);
    } else {
      program.li(mask, this.#pick([0, 0x8, 0x80, 0x88, 0x888])).csr(operation, rd, 'mie', mask);
      program.csr('csrrs', rd, 'mie', 'zero').csr('csrrs', mask, 'mip', 'zero');
    }
    program.csrImmediate('csrrci', 'zero', 'mstatus', 8);
  }

  #illegal(): void {
    const entry = new Int32Array(DECODED_LENGTH);
    for (;;) {
      const word = (this.#next() & ~3) | 3;
      decodeInto(entry, 0, word);
      if (entry[1] === OPERATION.illegal) {
        this.#program.word(word);
        return;
      }
    }
  }

  #environment(): void {
    this.#program.plain(this.#pick(['ecall', 'ebreak', 'fence', 'fence.i'] as const));
  }

  /** Accesses of addresses where nothing is: the lowest and the highest 2 KiB. */
  #accessFault(): void {
    const program = this.#program;
    const offset = (this.#below(512) - 256) * 4;
    switch (this.#below(4)) {
      case 0:
        program.load(this.#pick(['lb', 'lh', 'lw', 'lbu', 'lhu'] as const), this.#free(), offset, 'zero');
        break;
      case 1:
        program.store(this.#pick(['sb', 'sh', 'sw'] as const), this.#any(), offset, 'zero');
        break;
      default:
        program.load('lw', this.#free(), offset, 'zero');
    }
  }

  #misalignedJump(): void {
    const program = this.#program;
    switch (this.#below(3)) {
      case 0: {
        const base = this.#writable();
        program.auipc(base, 0).jalr(this.#free(), 10, base);
        break;
      }
      case 1:
        program.word(encoding.encodeJal(this.#free(), 6));
        break;
      default:
        program.word(encoding.encodeBranch('bltu', this.#any(), this.#any(), 6));
    }
  }

  /** A jump to where nothing is; the handler goes on at the address in t5. */
  #fetchFault(): void {
    const label = this.#label();
    this.#program
      .la('t5', label)
      .jalr(this.#without('t5'), this.#below(256) * 4, 'zero')
      .label(label);
  }

  /** The software or the timer interrupt, taken. The jump ends QEMU's block, after which it looks for interrupts. */
  #interrupt(): void {
    const program = this.#program;
    const label = this.#label();
    const timer = this.#below(2) === 1;
    program.li('t5', timer ? 0x80 : 0x8).csr('csrrw', 'zero', 'mie', 't5');
    program.csrImmediate('csrrsi', 'zero', 'mstatus', 8);
    if (timer) this.#setTimer(0);
    else program.li('t4', CLINT).li('t5', 1).store('sw', 't5', 0, 't4');
    program.j(label).label(label).csrImmediate('csrrci', 'zero', 'mstatus', 8);
  }

  /** wfi with an interrupt pending and enabled, though not taken: goes on at once. */
  #waitForInterrupt(): void {
    const program = this.#program;
    const rd = this.#without('t4');
    program.csrImmediate('csrrci', 'zero', 'mstatus', 8).csrImmediate('csrrsi', 'zero', 'mie', 8);
    program.li('t4', CLINT).li('t5', 1).store('sw', 't5', 0, 't4').plain('wfi');
    program.csr('csrrs', rd, 'mip', 'zero').store('sw', 'zero', 0, 't4');
    program.csr('csrrs', this.#free(), 'mip', 'zero');
  }

  /** An instruction that is written right before it is executed. */
  #modifiedCode(): void {
    const label = this.#label();
    const word = encoding.encodeImmediate('addi', this.#free(), this.#any(), this.#below(2048));
    this.#program.la('t4', label).li('t5', word).store('sw', 't5', 0, 't4').plain('fence.i').label(label);
    this.#program.word(encoding.encodeImmediate('xori', this.#free(), this.#any(), this.#below(2048)));
  }

  // -- parts

  /** mtimecmp = `value` in both halves: -1 is never, 0 at once. Changes t4, t5. */
  #setTimer(value: 0 | -1): void {
    const program = this.#program;
    program.li('t4', CLINT + 0x4000).li('t5', value);
    program.store('sw', 't5', 0, 't4').store('sw', 't5', 4, 't4');
  }

  /** Prints the registers. ra and t6 are in their places in memory and in mscratch; t6 is TRAP_SAVE. */
  #appendDump(): void {
    const program = this.#program;
    program.label('dump');
    for (const register of REGISTERS) {
      if (register === 'zero' || register === 'ra' || register === 't6') continue;
      program.store('sw', register, DUMP_SAVE - TRAP_SAVE + encoding.registerNumber(register) * 4, 't6');
    }
    program.csr('csrrw', 't0', 'mscratch', 't6').store('sw', 't0', DUMP_SAVE - TRAP_SAVE + 31 * 4, 't6');
    program
      .mv('s0', 'ra')
      .li('s1', DUMP_SAVE + 4)
      .li('s2', DUMP_SAVE + 128)
      .li('s4', UART);
    program.label('dump-word').load('lw', 'a0', 0, 's1').call('print-word');
    program.opImmediate('addi', 's1', 's1', 4).branch('bne', 's1', 's2', 'dump-word');
    program
      .li('s1', DATA)
      .li('s2', DATA + DATA_BYTES)
      .li('a0', 0)
      .li('a1', 2654435761);
    program
      .label('dump-data')
      .load('lw', 't0', 0, 's1')
      .op('add', 'a0', 'a0', 't0')
      .op('mul', 'a0', 'a0', 'a1');
    program.opImmediate('addi', 's1', 's1', 4).branch('bne', 's1', 's2', 'dump-data').call('print-word');
    program.li('t0', TRAP_DIGEST).load('lw', 'a0', 0, 't0').call('print-word').jalr('zero', 0, 's0');
    program.label('print-word');
    for (const shift of [0, 8, 16, 24]) {
      const wait = this.#label();
      program.label(wait).load('lbu', 't0', 5, 's4').opImmediate('andi', 't0', 't0', 0x20);
      program.branch('beq', 't0', 'zero', wait);
      program.shift('srli', 't0', 'a0', shift).store('sb', 't0', 0, 's4');
    }
    program.ret();
  }

  #appendTrapHandler(): void {
    const program = this.#program;
    // Vectored: exceptions at the base, interrupt n at base + 4n.
    program.align(128).label('trap-table').j('trap');
    for (let interrupt = 1; interrupt < 16; interrupt += 1) program.j('trap');
    program.label('trap').csr('csrrw', 't6', 'mscratch', 't6');
    program.store('sw', 't0', 0, 't6').store('sw', 't1', 4, 't6').store('sw', 't2', 8, 't6');
    program.load('lw', 't1', TRAP_DIGEST - TRAP_SAVE, 't6').csr('csrrs', 't0', 'mcause', 'zero');
    program.opImmediate('addi', 't2', 't0', -4).branch('bne', 't2', 'zero', 'trap-cause').li('t0', 6);
    program.csr('csrrw', 'zero', 'mcause', 't0').label('trap-cause');
    this.#mix();
    program.branch('blt', 't0', 'zero', 'interrupt');
    program.csr('csrrs', 't2', 'mtval', 'zero').branch('bne', 't0', 'zero', 'trap-value').li('t2', 0);
    program.csr('csrrw', 'zero', 'mtval', 't2').label('trap-value').mv('t0', 't2');
    this.#mix();
    program.csr('csrrs', 't0', 'mepc', 'zero');
    this.#mix();
    program.opImmediate('addi', 't0', 't0', 4).csr('csrrs', 't2', 'mcause', 'zero');
    program.opImmediate('addi', 't2', 't2', -1).branch('bne', 't2', 'zero', 'trap-return').mv('t0', 't5');
    program.label('trap-return').csr('csrrw', 'zero', 'mepc', 't0');
    program.label('trap-end').store('sw', 't1', TRAP_DIGEST - TRAP_SAVE, 't6');
    program.load('lw', 't0', 0, 't6').load('lw', 't1', 4, 't6').load('lw', 't2', 8, 't6');
    program.csr('csrrw', 't6', 'mscratch', 't6').plain('mret');
    program
      .label('interrupt')
      .li('t0', CLINT)
      .store('sw', 'zero', 0, 't0')
      .li('t0', CLINT + 0x4000)
      .li('t2', -1);
    program.store('sw', 't2', 0, 't0').store('sw', 't2', 4, 't0').j('trap-end');
  }

  /** t1 = digest of t1 and t0; changes t2. */
  #mix(): void {
    const program = this.#program;
    program.op('xor', 't1', 't1', 't0').shift('slli', 't2', 't1', 5).op('add', 't1', 't1', 't2');
    program.opImmediate('addi', 't1', 't1', 1);
  }

  /** A register with an address within the data, not a multiple of 4 if `misaligned`. */
  #dataAddress(misaligned: boolean): Register {
    const address = this.#writable();
    const offset = (this.#below(1000) - 500) * 4 + (misaligned ? 1 + this.#below(3) : 0);
    this.#program.opImmediate('addi', address, 'gp', offset);
    return address;
  }

  // -- choices

  #below(limit: number): number {
    return this.#next() % limit;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#below(items.length)]!;
  }

  #value(): number {
    return this.#below(3) === 0 ? this.#pick(INTERESTING) : this.#next();
  }

  /** To read: any register. */
  #any(): Register {
    return this.#pick(REGISTERS);
  }

  /** To write: any but gp. */
  #free(): Register {
    return this.#pick(FREE);
  }

  /** To write and read back: neither gp nor zero. */
  #writable(): Register {
    return this.#without('zero');
  }

  #without(register: Register): Register {
    return this.#pick(FREE.filter((name) => name !== register && name !== 'zero'));
  }

  #label(): string {
    this.#labels += 1;
    return `label-${this.#labels}`;
  }
}

/** An image of `sequences` random sequences of `elements` elements each; the same for the same seed. */
export function randomProgram(seed: number, sequences: number, elements: number): Uint8Array {
  return new RandomProgram(seed).build(sequences, elements);
}
