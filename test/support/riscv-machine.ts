import { Machine } from '../../agent/guest/embedded/machine.js';

/** Steps after which a program that should have ended is taken to hang. */
const MAX_STEPS = 2e9;

/** Steps given to run() at a time where nothing else is asked for. */
const BATCH_STEPS = 100_000;

/** A machine with `image` at the start of its RAM. */
export function machineWith(image: Uint8Array, memoryBytes: number, stopAt?: number): Machine {
  const ram = new SharedArrayBuffer(memoryBytes);
  new Uint8Array(ram).set(image);
  return new Machine(ram, stopAt);
}

/**
 * Runs the machine, with no regard to the wall clock, until it finishes or stops; all that it prints meanwhile.
 * Throws if it waits for an interrupt that cannot come, or does not end.
 */
export function runToEnd(machine: Machine, batchSteps = BATCH_STEPS): Buffer {
  const output: Uint8Array[] = [];
  let printed = machine.console.end;
  for (let steps = 0; steps < MAX_STEPS; steps += batchSteps) {
    const stop = machine.run(batchSteps);
    if (machine.console.end > printed) {
      output.push(machine.console.read(printed));
      printed = machine.console.end;
    }
    if (stop === 'finished' || stop === 'stopped') return Buffer.concat(output);
    if (stop === 'waiting') {
      if (machine.secondsToTimer() === Infinity) throw new Error('the program waits for ever');
      machine.skipToTimer();
    }
  }
  throw new Error(`the program has not ended after ${MAX_STEPS} steps`);
}
