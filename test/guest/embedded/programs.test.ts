import { test } from 'tap';
import { PROGRAMS, buildProgram } from '../../../agent/guest/embedded/programs/catalogue.js';
import { PROGRAM_BYTES } from '../../../agent/guest/embedded/programs/program.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import { machineWith, runToEnd } from '../../support/riscv-machine.js';

const MIB = 2 ** 20;

void test('a parameter that a program does not have is refused by name', (t) => {
  for (const name of Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[]) {
    t.throws(() => buildProgram(name, { colour: 1 }, MIB), {
      code: 'invalid-definition',
      message: /has no parameter 'colour': it takes \w+/,
    });
    t.throws(() => buildProgram(name, { toString: 1 }, MIB), { code: 'invalid-definition' });
  }
  t.end();
});

void test('a value out of its range is refused with the range and its unit', (t) => {
  t.throws(() => buildProgram('ticker', { intervalMs: 0 }, MIB), {
    code: 'invalid-definition',
    message: /parameter intervalMs of program ticker is 0: give 1 to 100000 ms/,
  });
  t.throws(() => buildProgram('dirty', { pagesPerSecond: 5e6 }, MIB), { code: 'invalid-definition' });
  t.throws(() => buildProgram('checksum', { steps: 8.5 }, MIB), { code: 'invalid-definition' });
  t.end();
});

void test('a working set that the memory has no room for is refused', (t) => {
  for (const name of ['dirty', 'checksum'] as const) {
    const room = (MIB - PROGRAM_BYTES) / PAGE_SIZE;
    t.ok(buildProgram(name, { workingSetPages: room }, MIB));
    t.throws(() => buildProgram(name, { workingSetPages: room + 1 }, MIB), {
      code: 'invalid-definition',
      message: /more than the 240 pages/,
    });
  }
  t.end();
});

void test('every program fits its place and starts with its defaults on the smallest and the largest machine', (t) => {
  for (const name of Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[]) {
    for (const memoryBytes of [MIB, 2048 * MIB]) {
      t.ok(buildProgram(name, {}, memoryBytes).length <= PROGRAM_BYTES, `${name} ${memoryBytes}`);
    }
  }
  t.end();
});

void test('dirty writes as many pages of guest time as it is told', (t) => {
  const image = buildProgram('dirty', { workingSetPages: 100, pagesPerSecond: 2000, writes: 1000 }, MIB);
  const machine = machineWith(image, MIB);
  runToEnd(machine);
  t.ok(Math.abs(machine.guestSeconds() - 0.5) < 0.01, `${machine.guestSeconds()} s for 1000 pages`);
  t.end();
});

void test('checksum notices one bit that went wrong on the way', (t) => {
  const image = buildProgram('checksum', { steps: 10_000, workingSetPages: 20 }, MIB);
  const digest = runToEnd(machineWith(image, MIB)).toString();
  const machine = machineWith(image, MIB);
  machine.run(100_000);
  const { ram } = machine.hart;
  const at = PROGRAM_BYTES + 64 * 100;
  ram[at] = ram[at]! ^ 0x10;
  const other = runToEnd(machine).toString();
  t.match(digest, /digest [0-9a-f]{8}\n$/);
  t.not(other.slice(-9), digest.slice(-9));
  t.end();
});
