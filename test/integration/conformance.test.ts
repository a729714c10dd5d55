import { test } from 'tap';
import { Assembler } from '../../agent/guest/embedded/assembler.js';
import { RAM_BASE } from '../../agent/guest/embedded/memory-map.js';
import { DECODED_LENGTH, MNEMONICS, OPERATION, decodeInto } from '../../agent/guest/embedded/decode.js';
import { loadElf } from '../../agent/guest/embedded/elf.js';
import { Machine } from '../../agent/guest/embedded/machine.js';
import { PROGRAMS, buildProgram } from '../../agent/guest/embedded/programs/catalogue.js';
import { elfFile } from '../support/riscv-elf.js';
import { machineWith, runToEnd } from '../support/riscv-machine.js';
import { runOnQemu } from '../support/riscv-qemu.js';
import {
  RANDOM_PROGRAM_MEMORY_BYTES,
  WORDS_PER_SEQUENCE,
  randomProgram,
} from '../support/riscv-random-program.js';

/**
 * The embedded machine against QEMU's virt board: the same image must print the same. QEMU is the judge of what the
 * instructions do; nothing here knows what a program ought to print.
 */

const MIB = 2 ** 20;

const SHORT_RUNS: [keyof typeof PROGRAMS, Record<string, number>, number][] = [
  ['idle', { wakeMs: 5, wakes: 20 }, 2 * MIB],
  ['ticker', { intervalMs: 20, ticks: 15 }, 2 * MIB],
  ['dirty', { workingSetPages: 60, pagesPerSecond: 20_000, writes: 5000 }, 2 * MIB],
  ['dirty', { workingSetPages: 300, pagesPerSecond: 0, writes: 300_000 }, 2 * MIB],
  ['checksum', { steps: 500_000, workingSetPages: 300 }, 2 * MIB],
  ['checksum', { steps: 300_000 }, 16 * MIB],
];

for (const [name, parameters, memoryBytes] of SHORT_RUNS) {
  void test(`program ${name} ${JSON.stringify(parameters)} prints what it prints on QEMU`, async (t) => {
    const image = buildProgram(name, parameters, memoryBytes);
    const machine = machineWith(image, memoryBytes);
    const printed = runToEnd(machine).toString();
    const reference = await runOnQemu(image, memoryBytes);
    t.equal(printed, reference.output.toString());
    t.equal(machine.exitCode, reference.exitCode);
    t.not(printed, '');
  });
}

const SEEDS = 10;
const SEQUENCES_PER_SEED = 300;
const ELEMENTS_PER_SEQUENCE = 24;

/** The words that differ between two outputs of a random program, as text; empty if none does. */
function differences(ours: Buffer, reference: Buffer): string[] {
  const found = ours.length === reference.length ? [] : [`lengths ${ours.length} and ${reference.length}`];
  for (let at = 0; at + 4 <= Math.min(ours.length, reference.length) && found.length < 5; at += 4) {
    const [our, their] = [ours.readUInt32LE(at), reference.readUInt32LE(at)];
    if (our === their) continue;
    const sequence = Math.floor(at / 4 / WORDS_PER_SEQUENCE);
    const word = (at / 4) % WORDS_PER_SEQUENCE;
    const what = word < 31 ? `x${word + 1}` : word === 31 ? 'memory checksum' : 'trap digest';
    found.push(`sequence ${sequence}, ${what}: 0x${our.toString(16)}, on QEMU 0x${their.toString(16)}`);
  }
  return found;
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  void test(`${SEQUENCES_PER_SEED} random sequences of seed ${seed} end as on QEMU`, async (t) => {
    const image = randomProgram(seed, SEQUENCES_PER_SEED, ELEMENTS_PER_SEQUENCE);
    const ours = runToEnd(machineWith(image, RANDOM_PROGRAM_MEMORY_BYTES));
    const reference = await runOnQemu(image, RANDOM_PROGRAM_MEMORY_BYTES);
    t.same(differences(ours, reference.output), []);
    t.equal(ours.length, SEQUENCES_PER_SEED * WORDS_PER_SEQUENCE * 4);
  });
}

void test('the random sequences execute every instruction, and every exception that there is', (t) => {
  const executed = new Map<string, number>();
  const causes = new Set<number>();
  const entry = new Int32Array(DECODED_LENGTH);
  for (const seed of [1, 2]) {
    const image = randomProgram(seed, SEQUENCES_PER_SEED, ELEMENTS_PER_SEQUENCE);
    const ram = new SharedArrayBuffer(RANDOM_PROGRAM_MEMORY_BYTES);
    new Uint8Array(ram).set(image);
    const words = new Int32Array(ram);
    const machine = new Machine(ram);
    const { hart } = machine;
    for (;;) {
      const before = hart.retired;
      const offset = (hart.pc - RAM_BASE) | 0;
      if (machine.run(1) === 'finished') break;
      causes.add(hart.control.mcause);
      // One step that retires is one instruction, carried out to its end.
      if (offset < 0 || hart.retired === before) continue;
      decodeInto(entry, 0, words[offset >>> 2]!);
      const mnemonic = MNEMONICS[entry[1]!]!;
      executed.set(mnemonic, (executed.get(mnemonic) ?? 0) + 1);
    }
  }
  // Those that never retire are seen by their cause.
  const trapping = new Set(['illegal', 'ecall', 'ebreak', 'misalignedJump']);
  const missing = MNEMONICS.filter((name) => !trapping.has(name) && (executed.get(name) ?? 0) < 10);
  t.same(missing, []);
  t.equal(MNEMONICS.length, Object.keys(OPERATION).length);
  for (const cause of [0, 1, 2, 3, 5, 6, 7, 11, -0x80000000 + 3, -0x80000000 + 7]) {
    t.ok(causes.has(cause), `cause ${cause >>> 0}`);
  }
  t.end();
});

/** Reads a UART register into a0 and prints it in two hexadecimal digits' worth of letters. */
function printRegister(program: Assembler, index: number): void {
  program.load('lbu', 'a0', index, 's0').call('print');
}

void test('the UART registers and its input behave as on QEMU', async (t) => {
  const program = new Assembler(RAM_BASE).li('s0', 0x10000000).j('main');
  program.label('print').shift('srli', 't0', 'a0', 4).opImmediate('andi', 't1', 'a0', 15);
  program.opImmediate('addi', 't0', 't0', 65).opImmediate('addi', 't1', 't1', 65);
  program.store('sb', 't0', 0, 's0').store('sb', 't1', 0, 's0').li('t2', 32).store('sb', 't2', 0, 's0').ret();
  const write = (index: number, value: number) => program.li('t0', value).store('sb', 't0', index, 's0');
  const waitForInput = (label: string) =>
    program
      .label(label)
      .load('lbu', 't0', 5, 's0')
      .opImmediate('andi', 't0', 't0', 1)
      .branch('beq', 't0', 'zero', label);

  program.label('main');
  waitForInput('first-input');
  for (const index of [0, 1, 2, 3, 4, 6, 7]) printRegister(program, index);
  // All that was sent is received, one after the other.
  for (const at of ['second', 'third', 'fourth']) {
    waitForInput(at);
    printRegister(program, 5);
    printRegister(program, 0);
  }
  printRegister(program, 5);
  write(7, 0x5a);
  write(3, 0x83);
  write(0, 0x12);
  write(1, 0x34);
  for (const index of [0, 1, 3, 7]) program.load('lbu', `s${2 + (index % 4)}` as 's2', index, 's0');
  write(3, 0x03);
  for (const register of ['s2', 's3', 's5'] as const) program.mv('a0', register).call('print');
  write(1, 0x0f);
  for (const index of [1, 2, 2, 3]) printRegister(program, index);
  write(1, 0x00);
  write(2, 0x01);
  for (const index of [2, 5, 6]) printRegister(program, index);
  // In loopback what is sent comes back, and the modem's outputs are its inputs.
  for (const control of [0x10, 0x11, 0x12, 0x14, 0x18, 0x1f]) {
    write(4, control);
    write(0, 0x41 + (control & 15));
    program.load('lbu', 's6', 0, 's0').load('lbu', 's7', 6, 's0').load('lbu', 's8', 5, 's0');
    write(4, 0x08);
    for (const register of ['s6', 's7', 's8'] as const) program.mv('a0', register).call('print');
  }
  // Wider accesses reach one register.
  program.load('lw', 'a0', 4, 's0').call('print').load('lhu', 'a0', 6, 's0').call('print');
  program
    .li('t0', 0x100000)
    .li('t1', (77 << 16) | 0x3333)
    .store('sw', 't1', 0, 't0')
    .label('end')
    .j('end');
  const image = program.assemble();
  const machine = machineWith(image, MIB);
  machine.input(Buffer.from('Wxyz'));
  const printed = runToEnd(machine).toString('latin1');
  const reference = await runOnQemu(image, 2 * MIB, { input: 'Wxyz' });
  t.equal(printed, reference.output.toString('latin1'));
  t.equal(machine.exitCode, 77);
  t.equal(reference.exitCode, 77);
});

void test("a user's ELF file runs as with QEMU's -kernel", async (t) => {
  const code = buildProgram('checksum', { steps: 10_000, workingSetPages: 20 }, 2 * MIB);
  // The entry point is not the start of RAM, to which the program is linked.
  const entry = RAM_BASE + 0x2000;
  const jump = new Assembler(entry).li('t0', RAM_BASE).jalr('zero', 0, 't0').assemble();
  const elf = elfFile(entry, [
    { address: RAM_BASE, data: code },
    { address: entry, data: jump, memoryBytes: 64 },
  ]);
  const ram = new SharedArrayBuffer(2 * MIB);
  const machine = new Machine(ram);
  machine.hart.pc = loadElf(elf, new Uint8Array(ram)) | 0;
  const printed = runToEnd(machine).toString();
  // QEMU has a device tree at the start of a RAM of 2 MiB.
  const reference = await runOnQemu(elf, 4 * MIB, { elf: true });
  t.equal(printed, reference.output.toString());
  t.match(printed, /digest/);
});
