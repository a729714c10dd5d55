import type { Program } from './program.js';
import {
  TICKS_PER_MILLISECOND,
  advanceTimer,
  appendRoutines,
  exitWithPass,
  print,
  startProgram,
  startTimer,
} from './runtime.js';

/**
 * Prints a numbered line for each timer interrupt. The interrupt is a real one, taken in the handler, which counts
 * it in s0; the main program prints a line for each that it has not printed yet (s1), so none is left out.
 */
export const ticker: Program = {
  summary: 'prints a numbered line per timer interrupt',
  parameters: {
    intervalMs: {
      description: 'time between two lines',
      unit: 'ms of guest time',
      default: 1000,
      min: 1,
      max: 100_000,
    },
    ticks: {
      description: 'lines after which it ends; 0: never',
      unit: 'lines',
      default: 0,
      min: 0,
      max: 0xffffffff,
    },
  },
  build(value) {
    const ticks = value('intervalMs') * TICKS_PER_MILLISECOND;
    const program = startProgram();
    program.li('s0', 0).li('s1', 0).li('s2', value('ticks'));
    program.la('t0', 'on-interrupt').csr('csrrw', 'zero', 'mtvec', 't0');
    startTimer(program, ticks);
    program
      .csrImmediate('csrrsi', 'zero', 'mstatus', 1 << 3)
      .label('wait')
      .branch('bne', 's0', 's1', 'print-tick')
      // An interrupt between the comparison and wfi is not lost: the next one is one interval away.
      .plain('wfi')
      .j('wait')
      .label('print-tick')
      .opImmediate('addi', 's1', 's1', 1);
    print(program, 'text-tick');
    program.mv('a0', 's1').call('print-decimal');
    print(program, 'text-newline');
    program.branch('bne', 's1', 's2', 'wait');
    exitWithPass(program);

    // The main program's t0 and t1 are kept in s8 and s9; the CSRs tell an exception from the interrupt.
    program
      .align(4)
      .label('on-interrupt')
      .mv('s8', 't0')
      .mv('s9', 't1')
      .csr('csrrs', 't0', 'mcause', 'zero')
      .branch('bge', 't0', 'zero', 'unexpected-trap')
      .opImmediate('addi', 's0', 's0', 1);
    advanceTimer(program, ticks);
    program.mv('t0', 's8').mv('t1', 's9').plain('mret');
    appendRoutines(program);
    program.label('text-tick').text('tick ');
    return program.assemble();
  },
};
