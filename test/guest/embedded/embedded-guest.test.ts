import { arriving, savedState } from '../../support/array-guest.js';
import { once } from 'node:events';
import { test } from 'tap';
import { Assembler } from '../../../agent/guest/embedded/assembler.js';
import { EmbeddedGuest } from '../../../agent/guest/embedded/embedded-guest.js';
import { MachineWorker } from '../../../agent/guest/embedded/machine-worker.js';
import { RAM_BASE } from '../../../agent/guest/embedded/memory-map.js';
import { MAX_PENDING_INPUT_BYTES } from '../../../agent/guest/embedded/uart.js';
import type { MigrationError } from '../../../shared/errors.js';
import { EmbeddedDefinitionSchema, type EmbeddedDefinition } from '../../../shared/guest-definition.js';
import { PAGE_SIZE, countPages, type Run } from '../../../shared/page.js';
import { elfFile } from '../../support/riscv-elf.js';

function define(fields: Partial<EmbeddedDefinition>): EmbeddedDefinition {
  return EmbeddedDefinitionSchema.parse({
    name: 'g1',
    kind: 'embedded',
    memory: '2MiB',
    program: 'checksum',
    ...fields,
  });
}

/** Resolves once the guest has stopped by itself. */
function stopped(guest: EmbeddedGuest): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (guest.state === 'running') return;
      end();
      resolve();
    };
    const end = guest.onChange(check);
    check();
  });
}

/** Resolves once the guest's transcript holds `text`. */
function printed(guest: EmbeddedGuest, text: string): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (!Buffer.from(guest.readConsole(0)).toString().includes(text)) return;
      end();
      resolve();
    };
    const end = guest.onOutput(check);
    check();
  });
}

function copyRuns(runs: readonly Run[], from: EmbeddedGuest, to: EmbeddedGuest): void {
  for (const { region, firstPage, pageCount } of runs) {
    const start = firstPage * PAGE_SIZE;
    const end = start + pageCount * PAGE_SIZE;
    to.regions[region]!.memory.set(from.regions[region]!.memory.subarray(start, end), start);
  }
}

async function ending(guest: EmbeddedGuest): Promise<Record<string, unknown>> {
  return {
    state: guest.state,
    exitCode: guest.exitCode,
    retired: guest.retiredInstructions(),
    registers: await guest.registers(),
    transcript: Buffer.from(guest.readConsole(0)).toString(),
    consoleEnd: guest.consoleEnd,
    memory: Buffer.from(guest.regions[0]!.memory).toString('base64'),
  };
}

/** Runs a guest to its end, moving it to a new one each time its transcript holds the next of `at`. */
async function runMoving(
  definition: EmbeddedDefinition,
  at: readonly string[],
): Promise<Record<string, unknown>> {
  let guest = await EmbeddedGuest.boot(definition);
  try {
    await guest.resume();
    for (const text of at) {
      await printed(guest, text);
      const target = await EmbeddedGuest.incoming(definition);
      await guest.writeLog.start();
      copyRuns(await guest.populated(), guest, target);
      copyRuns(await guest.writeLog.harvest(), guest, target);
      await guest.pause();
      copyRuns(await guest.writeLog.harvest(), guest, target);
      await target.loadState(arriving(await savedState(guest)));
      await guest.destroy();
      guest = target;
      await guest.resume();
    }
    await stopped(guest);
    return await ending(guest);
  } finally {
    await guest.destroy();
  }
}

void test('a guest that moves while it computes ends as one that never moved', async (t) => {
  const definition = define({ parameters: { steps: 1_000_000 } });
  const straight = await runMoving(definition, []);
  t.match(straight, { state: 'finished', exitCode: 0, transcript: /digest [0-9a-f]{8}\n$/ });
  t.same(await runMoving(definition, ['filled', 'part 2', 'part 4', 'part 5']), straight);
});

void test('a guest stopped at an instruction stops at the same one wherever it runs', async (t) => {
  const definition = define({
    program: 'dirty',
    parameters: { pagesPerSecond: 0, workingSetPages: 300 },
    stopAtInstruction: 30_000_001,
  });
  const straight = await runMoving(definition, []);
  t.match(straight, { state: 'paused', exitCode: null, retired: 30_000_001 });
  t.same(await runMoving(definition, ['dirty', 'dirty']), straight);
});

void test('pause and resume are harmless when repeated; a finished guest stays so', async (t) => {
  const guest = await EmbeddedGuest.boot(define({ parameters: { steps: 8, workingSetPages: 1 } }));
  t.teardown(() => guest.destroy());
  t.equal(guest.state, 'paused');
  await guest.pause();
  t.equal(guest.retiredInstructions(), 0);
  await guest.resume();
  await guest.resume();
  await stopped(guest);
  t.equal(guest.state, 'finished');
  await guest.resume();
  await guest.pause();
  t.equal(guest.state, 'finished');
  // It can still be moved.
  const target = await EmbeddedGuest.incoming(guest.definition);
  t.teardown(() => target.destroy());
  await target.loadState(arriving(await savedState(guest)));
  t.equal(target.state, 'finished');
  t.equal(target.consoleEnd, guest.consoleEnd);
});

void test('a paused guest stands still', async (t) => {
  const guest = await EmbeddedGuest.boot(define({ program: 'dirty', parameters: { pagesPerSecond: 0 } }));
  t.teardown(() => guest.destroy());
  await guest.resume();
  await printed(guest, 'dirty');
  await guest.pause();
  const [memory, state] = [Buffer.from(guest.regions[0]!.memory).toString('base64'), await savedState(guest)];
  await new Promise((resolve) => setImmediate(resolve));
  t.same(await savedState(guest), state);
  t.equal(Buffer.from(guest.regions[0]!.memory).toString('base64'), memory);
});

void test('the write-log has what was written since, once, and nothing when it is off', async (t) => {
  const guest = await EmbeddedGuest.boot(
    define({
      program: 'dirty',
      parameters: { pagesPerSecond: 0, workingSetPages: 100 },
      stopAtInstruction: 100_000,
    }),
  );
  t.teardown(() => guest.destroy());
  t.equal(guest.writeLog.kind, 'store-path');
  await guest.writeLog.start();
  t.same(await guest.writeLog.harvest(), []);
  await guest.resume();
  await stopped(guest);
  const [first, second] = await Promise.all([guest.writeLog.harvest(), guest.writeLog.harvest()]);
  t.same(first, [{ region: 0, firstPage: 16, pageCount: 100 }]);
  t.same(second, []);
  await guest.writeLog.stop();
  await guest.writeLog.stop();
  t.same(await guest.writeLog.harvest(), []);
});

void test('populated is what is not zero', async (t) => {
  const guest = await EmbeddedGuest.incoming(define({ memory: 64 * 2 ** 20 }));
  t.teardown(() => guest.destroy());
  t.same(await guest.populated(), []);
  const memory = guest.regions[0]!.memory;
  for (const page of [0, 4095, 4096, 9000, 16_383]) memory[page * PAGE_SIZE + 77] = 1;
  t.same(await guest.populated(), [
    { region: 0, firstPage: 0, pageCount: 1 },
    { region: 0, firstPage: 4095, pageCount: 2 },
    { region: 0, firstPage: 9000, pageCount: 1 },
    { region: 0, firstPage: 16_383, pageCount: 1 },
  ]);
  t.equal(countPages(await guest.populated()), 5);
});

/** Prints what it receives, each byte plus one, and ends with the exit code 3 at a 'q'. */
function echo(): Uint8Array {
  const program = new Assembler(RAM_BASE).li('s0', 0x10000000).li('s1', 'q'.charCodeAt(0));
  program.label('wait').load('lbu', 't0', 5, 's0').opImmediate('andi', 't0', 't0', 1);
  program.branch('beq', 't0', 'zero', 'wait').load('lbu', 't1', 0, 's0').branch('beq', 't1', 's1', 'quit');
  program.opImmediate('addi', 't1', 't1', 1).store('sb', 't1', 0, 's0').j('wait');
  program.label('quit').li('t0', 0x100000).li('t1', 0x33333).store('sw', 't1', 0, 't0').label('end').j('end');
  return elfFile(RAM_BASE, [{ address: RAM_BASE, data: program.assemble() }]);
}

void test("a user's program talks over the console, also with input that moved with it", async (t) => {
  const definition = define({ program: 'image' });
  const guest = await EmbeddedGuest.boot(definition, echo());
  t.teardown(() => guest.destroy());
  await guest.sendInput(Buffer.from('HAL'));
  await guest.resume();
  await printed(guest, 'IBM');
  await guest.pause();
  await guest.sendInput(Buffer.from('abcq'));
  const target = await EmbeddedGuest.incoming(definition, guest.image);
  t.teardown(() => target.destroy());
  copyRuns(await guest.populated(), guest, target);
  await target.loadState(arriving(await savedState(guest)));
  await target.resume();
  await stopped(target);
  t.equal(Buffer.from(target.readConsole(0)).toString(), 'IBMbcd');
  t.equal(Buffer.from(target.readConsole(4)).toString(), 'cd');
  t.equal(target.exitCode, 3);
});

void test('input that nobody reads is bounded', async (t) => {
  const guest = await EmbeddedGuest.boot(define({ program: 'idle' }));
  t.teardown(() => guest.destroy());
  await guest.sendInput(new Uint8Array(MAX_PENDING_INPUT_BYTES));
  await t.rejects(guest.sendInput(new Uint8Array(100)), { code: 'limit-exceeded' });
});

/** Prints for ever, as fast as it can. */
function chatter(): Uint8Array {
  const program = new Assembler(RAM_BASE).li('s0', 0x10000000).label('next');
  program.store('sb', 's1', 0, 's0').opImmediate('addi', 's1', 's1', 1).j('next');
  return elfFile(RAM_BASE, [{ address: RAM_BASE, data: program.assemble() }]);
}

void test('output arrives whole and in order, however much there is', async (t) => {
  const definition = define({ program: 'image', stopAtInstruction: 3_000_000 });
  const guest = await EmbeddedGuest.boot(definition, chatter());
  t.teardown(() => guest.destroy());
  let position = 0;
  let inOrder = true;
  guest.onOutput((at, data) => {
    inOrder &&= at === position && data.every((byte, index) => byte === ((position + index) & 0xff));
    position += data.length;
  });
  await guest.resume();
  await stopped(guest);
  t.ok(inOrder);
  t.ok(position > 900_000, `${position} bytes`);
  t.equal(guest.consoleEnd, position);
});

void test('what cannot be booted is refused', async (t) => {
  await t.rejects(EmbeddedGuest.boot(define({ parameters: { colour: 1 } })), { code: 'invalid-definition' });
  await t.rejects(EmbeddedGuest.boot(define({ program: 'image' })), { code: 'invalid-definition' });
  await t.rejects(EmbeddedGuest.boot(define({ program: 'image' }), new Uint8Array(100)), {
    code: 'invalid-image',
  });
});

void test('a state that is none is refused with load-failed, and the guest lives on', async (t) => {
  const guest = await EmbeddedGuest.incoming(define({}));
  t.teardown(() => guest.destroy());
  await t.rejects(guest.loadState(arriving([new Uint8Array(300)])), {
    code: 'load-failed',
    message: /^guest g1: the state/,
  });
  t.equal(guest.state, 'paused');
  t.ok((await savedState(guest)).length > 0);
});

void test('a destroyed guest answers no command', async (t) => {
  const guest = await EmbeddedGuest.boot(define({ program: 'dirty', parameters: { pagesPerSecond: 0 } }));
  await guest.resume();
  await guest.pauseForSwitchover(() => undefined);
  const pending = t.rejects(Promise.all([guest.saveState(), guest.registers()]), { code: 'guest-failed' });
  await Promise.all([guest.destroy(), pending]);
  await guest.destroy();
  await t.rejects(guest.pause(), { code: 'guest-failed', message: /destroyed/ });
  t.same(guest.regions, []);
});

void test('a thread that fails makes its commands fail, not the process', async (t) => {
  const failures: MigrationError[] = [];
  const failed = new EventTarget();
  // Write maps that are smaller than what is said of them: the thread cannot set itself up.
  const worker = new MachineWorker(
    'g2',
    {
      ram: new SharedArrayBuffer(2 ** 20),
      writeMaps: new SharedArrayBuffer(8),
      mapBytes: 256,
      stopAt: null,
      entry: RAM_BASE,
    },
    {
      output: () => undefined,
      stopped: () => undefined,
      failed: (error) => {
        failures.push(error);
        failed.dispatchEvent(new Event('failed'));
      },
    },
  );
  const event = once(failed, 'failed');
  await t.rejects(worker.command({ type: 'pause' }), {
    code: 'guest-failed',
    message: /guest g2 has failed/,
  });
  await event;
  await t.rejects(worker.started(), { code: 'guest-failed' });
  await t.rejects(worker.command({ type: 'save' }), { code: 'guest-failed' });
  t.equal(failures.length, 1);
  await worker.terminate();
});
