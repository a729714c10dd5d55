import { PAGE_SIZE } from '../../../../shared/page.js';
import { RAM_BASE } from '../memory-map.js';
import { PROGRAM_BYTES, type Program } from './program.js';
import {
  TICKS_PER_MILLISECOND,
  advanceTimer,
  appendRoutines,
  exitWithPass,
  print,
  startProgram,
  startTimer,
  waitForTimer,
} from './runtime.js';

/** Times a second at which a limited rate gets its next pages to write. */
const BURSTS_PER_SECOND = 1000;

/**
 * Writes the pages of a working set over and over, one word each, another value and another place every time.
 * Registers: s0 next page, s1 end of the working set, s2 counter of writes, s3 its limit, s4 credit in
 * thousandths of pages, s5 rate, s6 start of the working set, s7 bursts' unit.
 */
export const dirty: Program = {
  summary: 'writes a working set of pages at a given rate',
  parameters: {
    workingSetPages: {
      description: 'pages that it writes in turn',
      unit: 'pages',
      default: 128,
      min: 1,
      max: 524_288,
    },
    pagesPerSecond: {
      description: 'pages written per second of guest time; 0: as fast as it can',
      unit: 'pages/s',
      default: 1000,
      min: 0,
      max: 4_000_000,
    },
    writes: {
      description: 'pages written after which it prints a digest of the working set and ends; 0: never',
      unit: 'pages',
      default: 0,
      min: 0,
      max: 0xffffffff,
    },
  },
  build(value, memoryBytes) {
    const base = RAM_BASE + PROGRAM_BYTES;
    const end = base + value('workingSetPages') * PAGE_SIZE;
    const rate = value('pagesPerSecond');
    if (end > RAM_BASE + memoryBytes) {
      const most = (memoryBytes - PROGRAM_BYTES) / PAGE_SIZE;
      throw new RangeError(`workingSetPages is more than the ${most} pages that the memory has room for`);
    }
    const ticks = (TICKS_PER_MILLISECOND * 1000) / BURSTS_PER_SECOND;
    const program = startProgram();
    print(program, 'text-dirty');
    program
      .li('s6', base)
      .mv('s0', 's6')
      .li('s1', end % 2 ** 32)
      .li('s2', 0)
      .li('s3', value('writes'))
      .li('s4', 0)
      .li('s5', rate)
      .li('s7', BURSTS_PER_SECOND);
    if (rate > 0) startTimer(program, ticks);

    program.label('next');
    if (rate > 0) {
      program.branch('bge', 's4', 's7', 'write');
      waitForTimer(program);
      advanceTimer(program, ticks);
      program.op('add', 's4', 's4', 's5').j('next').label('write').op('sub', 's4', 's4', 's7');
    }
    // The place in the page moves by 68 bytes each time: all of it gets written in the end.
    program
      .opImmediate('addi', 's2', 's2', 1)
      .shift('slli', 't0', 's2', 6)
      .shift('slli', 't1', 's2', 2)
      .op('add', 't0', 't0', 't1')
      .shift('slli', 't0', 't0', 20)
      .shift('srli', 't0', 't0', 20)
      .op('add', 't0', 't0', 's0')
      .store('sw', 's2', 0, 't0');
    // Without a limit the counter comes to 0 again, after 2^32 writes.
    if (value('writes') > 0) program.branch('beq', 's2', 's3', 'finish');
    program
      .li('t1', PAGE_SIZE)
      .op('add', 's0', 's0', 't1')
      .branch('bne', 's0', 's1', 'next')
      .mv('s0', 's6')
      .j('next');

    program
      .label('finish')
      .li('s8', 0)
      .label('digest')
      .load('lw', 't0', 0, 's6')
      .op('xor', 's8', 's8', 't0')
      .shift('slli', 't1', 's8', 5)
      .op('add', 's8', 's8', 't1')
      .opImmediate('addi', 's8', 's8', 1)
      .opImmediate('addi', 's6', 's6', 4)
      .branch('bne', 's6', 's1', 'digest');
    print(program, 'text-digest');
    program.mv('a0', 's8').call('print-hex');
    print(program, 'text-newline');
    exitWithPass(program);
    appendRoutines(program);
    program.label('text-dirty').text('dirty\n').label('text-digest').text('digest ');
    return program.assemble();
  },
};
