import type { Program } from './program.js';
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

/** Sleeps; wakes now and then as an idle system does, writes no memory. */
export const idle: Program = {
  summary: 'sleeps, and wakes now and then',
  parameters: {
    wakeMs: {
      description: 'time between two wake-ups',
      unit: 'ms of guest time',
      default: 100,
      min: 1,
      max: 100_000,
    },
    wakes: {
      description: 'wake-ups after which it ends; 0: never',
      unit: 'wake-ups',
      default: 0,
      min: 0,
      max: 0xffffffff,
    },
  },
  build(value) {
    const ticks = value('wakeMs') * TICKS_PER_MILLISECOND;
    const program = startProgram();
    print(program, 'text-idle');
    program.li('s0', value('wakes'));
    startTimer(program, ticks);
    program.label('sleep');
    waitForTimer(program);
    advanceTimer(program, ticks);
    program.opImmediate('addi', 's0', 's0', -1).branch('bne', 's0', 'zero', 'sleep');
    exitWithPass(program);
    appendRoutines(program);
    program.label('text-idle').text('idle\n');
    return program.assemble();
  },
};
