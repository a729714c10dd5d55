import { PAGE_SIZE } from '../../../../shared/page.js';
import { RAM_BASE } from '../memory-map.js';
import { PROGRAM_BYTES, type Program } from './program.js';
import { appendRoutines, exitWithPass, print, startProgram } from './runtime.js';

/** The computation reads and writes one word in each cell of this many bytes. */
const CELL_BYTES = 64;

/** Lines that it prints on its way. */
const PROGRESS_LINES = 8;

/** Knuth's multiplicative constant (2^32 over the golden ratio, odd): spreads each word's bits. */
const MULTIPLIER = 2654435761;

const SEED = 0x12345678;

/**
 * A long computation over its memory, whose end shows whether a single bit went wrong on the way: fills a word in
 * each cell (7 instructions a cell), then changes cells picked by a random generator, each change depending on what
 * is in the cell and on all before it (20 instructions a step), then reads all cells (8 instructions a cell) and
 * prints the digest. Registers: s0 random state, s1 digest, s2 base, s3 cells that change, s4 steps left in this part,
 * s5 parts done, s6 multiplier, s7 end, s8 parts.
 */
export const checksum: Program = {
  summary: 'a long computation over its memory that ends with a printed digest',
  parameters: {
    steps: {
      description: 'changes, of 20 instructions each; rounded up to a multiple of 8',
      unit: 'steps',
      default: 20_000_000,
      min: 8,
      max: 0xffffffff,
    },
    workingSetPages: {
      description: 'pages that it computes with; 0: all of the memory but the first 64 KiB',
      unit: 'pages',
      default: 0,
      min: 0,
      max: 524_288,
    },
    hotPages: {
      description: 'pages of the working set that the changes go to; 0: all of it',
      unit: 'pages',
      default: 0,
      min: 0,
      max: 524_288,
    },
  },
  build(value, memoryBytes) {
    const base = RAM_BASE + PROGRAM_BYTES;
    const most = memoryBytes - PROGRAM_BYTES;
    const bytes = value('workingSetPages') === 0 ? most : value('workingSetPages') * PAGE_SIZE;
    if (bytes > most) {
      throw new RangeError(
        `workingSetPages is more than the ${most / PAGE_SIZE} pages that the memory has room for`,
      );
    }
    const hotBytes = value('hotPages') === 0 ? bytes : value('hotPages') * PAGE_SIZE;
    if (hotBytes > bytes)
      throw new RangeError(`hotPages is more than the ${bytes / PAGE_SIZE} of the working set`);
    const program = startProgram();
    print(program, 'text-start');
    program
      .li('s0', SEED)
      .li('s1', 0)
      .li('s2', base)
      .li('s3', hotBytes / CELL_BYTES)
      .li('s6', MULTIPLIER)
      // For 2 GiB the end is the end of the address space: 2^32, which is zero.
      .li('s7', (base + bytes) % 2 ** 32);

    program.mv('t6', 's2').label('fill').op('mul', 's0', 's0', 's6').opImmediate('addi', 's0', 's0', 77);
    program.store('sw', 's0', 0, 't6').opImmediate('addi', 't6', 't6', CELL_BYTES);
    program.branch('bne', 't6', 's7', 'fill');
    print(program, 'text-filled');

    program
      .li('s5', 0)
      .li('s8', PROGRESS_LINES)
      .label('part')
      .li('s4', Math.ceil(value('steps') / PROGRESS_LINES))
      .label('step')
      // xorshift32 (Marsaglia, Xorshift RNGs, 2003)
      .shift('slli', 't0', 's0', 13)
      .op('xor', 's0', 's0', 't0')
      .shift('srli', 't0', 's0', 17)
      .op('xor', 's0', 's0', 't0')
      .shift('slli', 't0', 's0', 5)
      .op('xor', 's0', 's0', 't0')
      // The upper word of the product with the number of cells that change is one of them.
      .op('mulhu', 't1', 's0', 's3')
      .shift('slli', 't1', 't1', Math.log2(CELL_BYTES))
      .op('add', 't1', 't1', 's2')
      .load('lw', 't2', 0, 't1')
      .op('xor', 's1', 's1', 't2')
      .shift('slli', 't3', 's1', 7)
      .shift('srli', 't4', 's1', 25)
      .op('or', 's1', 't3', 't4')
      .op('mul', 't2', 't2', 's6')
      .op('add', 't2', 't2', 's1')
      .op('xor', 't2', 't2', 's0')
      .store('sw', 't2', 0, 't1')
      .opImmediate('addi', 's4', 's4', -1)
      .branch('bne', 's4', 'zero', 'step')
      .opImmediate('addi', 's5', 's5', 1);
    print(program, 'text-part');
    program.mv('a0', 's5').call('print-decimal');
    print(program, 'text-of');
    program.mv('a0', 's1').call('print-hex');
    print(program, 'text-newline');
    program.branch('bne', 's5', 's8', 'part');

    program
      .mv('t6', 's2')
      .label('read')
      .load('lw', 't0', 0, 't6')
      .op('xor', 's1', 's1', 't0')
      .shift('slli', 't3', 's1', 7)
      .shift('srli', 't4', 's1', 25)
      .op('or', 's1', 't3', 't4')
      .op('mul', 's1', 's1', 's6')
      .opImmediate('addi', 't6', 't6', CELL_BYTES)
      .branch('bne', 't6', 's7', 'read');
    print(program, 'text-digest');
    program.mv('a0', 's1').call('print-hex');
    print(program, 'text-newline');
    exitWithPass(program);
    appendRoutines(program);
    program
      .label('text-start')
      .text('checksum\n')
      .label('text-filled')
      .text('filled\n')
      .label('text-part')
      .text('part ')
      .label('text-of')
      .text(` of ${PROGRESS_LINES}: `)
      .label('text-digest')
      .text('digest ');
    return program.assemble();
  },
};
