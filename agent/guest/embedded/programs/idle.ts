import type { Program } from './program.js';
import {
  TICKS_PER_MILLISECOND,
  advanceTimer,
  appendRoutines,
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
  },
  build(value) {
    const ticks = value('wakeMs') * TICKS_PER_MILLISECOND;
    const program = startProgram();
    print(program, 'text-idle');
    startTimer(program, ticks);
    program.label('sleep');
    waitForTimer(program);
    advanceTimer(program, ticks);
    program.j('sleep');
    appendRoutines(program);
    program.label('text-idle').text('idle\n');
    return program.assemble();
  },
};
