import fc from 'fast-check';
import { test } from 'tap';
import { Machine } from '../../../agent/guest/embedded/machine.js';
import { decodeMachineState, encodeMachineState } from '../../../agent/guest/embedded/machine-state.js';
import { buildProgram } from '../../../agent/guest/embedded/programs/catalogue.js';
import { MigrationError } from '../../../shared/errors.js';
import { machineWith } from '../../support/riscv-machine.js';

const MIB = 2 ** 20;

function exampleState(): Uint8Array {
  const machine = machineWith(buildProgram('ticker', { intervalMs: 1 }, MIB), MIB);
  for (let turn = 0; turn < 20; turn += 1) if (machine.run(1000) === 'waiting') machine.skipToTimer();
  machine.input(Buffer.from('some input that nobody reads'));
  return machine.save();
}

/** True if loading did what it may: succeed, or refuse with load-failed. */
function loadsOrRefuses(state: Uint8Array): boolean {
  const machine = new Machine(new SharedArrayBuffer(MIB));
  try {
    machine.load(state);
    // What it takes it must be able to run and to save again.
    machine.run(10);
    machine.save();
    return true;
  } catch (error) {
    return error instanceof MigrationError && error.code === 'load-failed';
  }
}

void test('a state survives encoding, and a machine that loads it saves the same', (t) => {
  const state = exampleState();
  t.same(encodeMachineState(decodeMachineState(state, MIB)), state);
  const machine = new Machine(new SharedArrayBuffer(MIB));
  machine.load(state);
  t.same(machine.save(), state);
  t.end();
});

void test('a state cut anywhere is refused with load-failed', (t) => {
  const state = exampleState();
  for (let length = 0; length < state.length; length += 1) {
    const machine = new Machine(new SharedArrayBuffer(MIB));
    const before = machine.save();
    t.throws(() => machine.load(state.subarray(0, length)), { code: 'load-failed' });
    t.same(machine.save(), before);
  }
  t.throws(() => decodeMachineState(Buffer.concat([state, Buffer.of(0)]), MIB), {
    message: /1 bytes follow its end/,
  });
  t.end();
});

void test('changed bytes are refused or make another valid state, and never crash', (t) => {
  const state = exampleState();
  fc.assert(
    fc.property(
      fc.array(fc.record({ at: fc.nat(state.length - 1), byte: fc.nat(255) }), {
        minLength: 1,
        maxLength: 6,
      }),
      (changes) => {
        const changed = state.slice();
        for (const { at, byte } of changes) changed[at] = byte;
        return loadsOrRefuses(changed);
      },
    ),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), loadsOrRefuses), { numRuns: 1000 });
  t.end();
});

void test('a refusal names what is wrong', (t) => {
  const state = exampleState();
  t.throws(() => decodeMachineState(state, 2 * MIB), { message: /machine of 1048576 bytes of memory/ });
  const newer = state.slice();
  newer[4] = 9;
  t.throws(() => decodeMachineState(newer, MIB), { message: /its version is 9/ });
  t.throws(() => decodeMachineState(new Uint8Array(500), MIB), { message: /does not start like a state/ });
  t.end();
});
