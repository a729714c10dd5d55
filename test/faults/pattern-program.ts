import { Machine } from '../../agent/guest/embedded/machine.js';
import { RAM_BASE } from '../../agent/guest/embedded/memory-map.js';
import { PROGRAM_BYTES } from '../../agent/guest/embedded/programs/program.js';
import {
  advanceTimer,
  appendRoutines,
  print,
  startProgram,
  startTimer,
  TICKS_PER_MILLISECOND,
  waitForTimer,
} from '../../agent/guest/embedded/programs/runtime.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { elfFile } from '../support/riscv-elf.js';
import { machineWith } from '../support/riscv-machine.js';

/** Pages read between two looks at the clock, and guest time between these. */
const PAGES_PER_TICK = 64;
const TICK_MS = 2;

/** One page of so many is written in a pass, another one each time; those before HOT_PAGES in every pass. */
const COLD_SHARE = 16;
const HOT_PAGES = 96;

/** Knuth's multiplicative constant (2^32 over the golden ratio, odd): spreads each word's bits. */
const MULTIPLIER = 2654435761;

/** Steps given to run() at a time. */
const BATCH_STEPS = 20_000;

/**
 * Walks over all of its memory for ever, paced by its timer so that it costs a host next to nothing: reads a word of each
 * page, writes to some, and prints `pass N DIGEST` at the end. The digest depends on every word that was ever read, so a
 * page that is not what it should be shows in each line from the next pass on. Registers: s0 number of the pass, s1 digest,
 * s2 page, s3 pages left in this tick, s4 end, s5 first page after the hot ones, s6 multiplier, s7 number of the page, s8 place in the page.
 */
export function patternProgram(memoryBytes: number): Uint8Array {
  const base = RAM_BASE + PROGRAM_BYTES;
  const program = startProgram();
  program
    .li('s0', 0)
    .li('s1', 0)
    .li('s4', RAM_BASE + memoryBytes)
    .li('s5', base + HOT_PAGES * PAGE_SIZE)
    .li('s6', MULTIPLIER)
    .li('s8', 0);
  startTimer(program, TICK_MS * TICKS_PER_MILLISECOND);
  program
    .label('pass')
    .opImmediate('addi', 's0', 's0', 1)
    // The place moves by 68 bytes a pass, within the first 2 KiB: offsets of loads are no longer.
    .opImmediate('addi', 's8', 's8', 68)
    .opImmediate('andi', 's8', 's8', 2044)
    .li('s2', base)
    .li('s7', 0)
    .label('tick');
  waitForTimer(program);
  advanceTimer(program, TICK_MS * TICKS_PER_MILLISECOND);
  program
    .li('s3', PAGES_PER_TICK)
    .label('page')
    .op('add', 't0', 's2', 's8')
    .load('lw', 't1', 0, 't0')
    .op('xor', 's1', 's1', 't1')
    .shift('slli', 't2', 's1', 7)
    .shift('srli', 't3', 's1', 25)
    .op('or', 's1', 't2', 't3')
    .op('mul', 's1', 's1', 's6')
    .opImmediate('addi', 's1', 's1', 77)
    .branch('bltu', 's2', 's5', 'write')
    .op('add', 't2', 's7', 's0')
    .opImmediate('andi', 't2', 't2', COLD_SHARE - 1)
    .branch('bne', 't2', 'zero', 'next')
    .label('write')
    .store('sw', 's1', 0, 't0')
    .label('next')
    .opImmediate('addi', 's7', 's7', 1)
    .li('t2', PAGE_SIZE)
    .op('add', 's2', 's2', 't2')
    .branch('beq', 's2', 's4', 'end-of-pass')
    .opImmediate('addi', 's3', 's3', -1)
    .branch('bne', 's3', 'zero', 'page')
    .j('tick')
    .label('end-of-pass');
  print(program, 'text-pass');
  program.mv('a0', 's0').call('print-decimal');
  print(program, 'text-space');
  program.mv('a0', 's1').call('print-hex');
  print(program, 'text-newline');
  program.j('pass');
  appendRoutines(program);
  program.label('text-pass').text('pass ').label('text-space').text(' ');
  return program.assemble();
}

/** The same as a file that an embedded guest can be defined with. */
export function patternImage(memoryBytes: number): Uint8Array {
  return elfFile(RAM_BASE, [{ address: RAM_BASE, data: patternProgram(memoryBytes) }]);
}

/** What the program prints on a machine that never moves, as far as anybody asks. */
export class PatternReference {
  readonly #machine: Machine;
  #text = '';

  constructor(memoryBytes: number) {
    this.#machine = machineWith(patternProgram(memoryBytes), memoryBytes);
  }

  /** Its first `bytes` bytes. */
  transcript(bytes: number): string {
    while (this.#text.length < bytes) {
      if (this.#machine.run(BATCH_STEPS) === 'waiting') this.#machine.skipToTimer();
      const { console } = this.#machine;
      this.#text += Buffer.from(console.read(this.#text.length)).toString('latin1');
    }
    return this.#text.slice(0, bytes);
  }
}
