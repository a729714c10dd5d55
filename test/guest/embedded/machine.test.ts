import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import { Assembler } from '../../../agent/guest/embedded/assembler.js';
import { Machine } from '../../../agent/guest/embedded/machine.js';
import { RAM_BASE } from '../../../agent/guest/embedded/memory-map.js';
import { buildProgram } from '../../../agent/guest/embedded/programs/catalogue.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import { machineWith, runToEnd } from '../../support/riscv-machine.js';
import { RANDOM_PROGRAM_MEMORY_BYTES, randomProgram } from '../../support/riscv-random-program.js';

const MIB = 2 ** 20;

/** All that can be seen of a machine and its memory. */
function fingerprint(machine: Machine, ram: Uint8Array): Record<string, unknown> {
  return {
    state: Buffer.from(machine.save()).toString('hex'),
    memory: createHash('sha256').update(Buffer.from(ram)).digest('hex'),
    transcript: Buffer.from(machine.console.read(0)).toString('latin1'),
    retired: machine.hart.retired,
  };
}

interface Specimen {
  name: string;
  image: Uint8Array;
  memoryBytes: number;
}

const SPECIMENS: Specimen[] = [
  { name: 'random', image: randomProgram(7, 20, 20), memoryBytes: RANDOM_PROGRAM_MEMORY_BYTES },
  { name: 'ticker', image: buildProgram('ticker', { intervalMs: 1, ticks: 30 }, MIB), memoryBytes: MIB },
  {
    name: 'dirty',
    image: buildProgram('dirty', { workingSetPages: 20, pagesPerSecond: 50_000, writes: 900 }, MIB),
    memoryBytes: MIB,
  },
  {
    name: 'checksum',
    image: buildProgram('checksum', { steps: 3000, workingSetPages: 10 }, MIB),
    memoryBytes: MIB,
  },
];

for (const { name, image, memoryBytes } of SPECIMENS) {
  void test(`${name}: cut anywhere and moved anywhere, it ends as in one run`, (t) => {
    const ram = new SharedArrayBuffer(memoryBytes);
    new Uint8Array(ram).set(image);
    const straight = new Machine(ram);
    runToEnd(straight);
    const expected = fingerprint(straight, new Uint8Array(ram));
    fc.assert(
      fc.property(
        fc.infiniteStream(fc.record({ steps: fc.integer({ min: 1, max: 5000 }), move: fc.nat(9) })),
        (cuts) => {
          let memory = new Uint8Array(new SharedArrayBuffer(memoryBytes));
          memory.set(image);
          let machine = new Machine(memory.buffer);
          for (const { steps, move } of cuts) {
            const stop = machine.run(steps);
            if (stop === 'finished') break;
            if (move === 0) {
              const copy = new Uint8Array(new SharedArrayBuffer(memoryBytes));
              copy.set(memory);
              const target = new Machine(copy.buffer);
              target.load(machine.save());
              machine = target;
              memory = copy;
            }
            if (stop === 'waiting') machine.skipToTimer();
          }
          t.same(fingerprint(machine, memory), expected);
        },
      ),
      { numRuns: 15 },
    );
    t.end();
  });
}

void test('stops after exactly the instructions that it is told to', (t) => {
  const image = buildProgram('checksum', { steps: 1000, workingSetPages: 5 }, MIB);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 3000 }), (stopAt, batch) => {
      const machine = machineWith(image, MIB, stopAt);
      runToEnd(machine, batch);
      return machine.hart.retired === stopAt && machine.run(1000) === 'stopped';
    }),
    { numRuns: 50 },
  );
  t.end();
});

void test('the write map has every page that a run changes, and no page that no store touched', (t) => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const image = randomProgram(seed, 3, 30);
      const ram = new SharedArrayBuffer(RANDOM_PROGRAM_MEMORY_BYTES);
      const memory = new Uint8Array(ram);
      memory.set(image);
      const machine = new Machine(ram);
      const pages = memory.length / PAGE_SIZE;
      for (;;) {
        const before = memory.slice();
        const map = new Uint8Array(pages);
        machine.hart.logWrites(map);
        const stop = machine.run(400);
        for (let page = 0; page < pages; page += 1) {
          const start = page * PAGE_SIZE;
          const changed = Buffer.compare(
            before.subarray(start, start + PAGE_SIZE),
            memory.subarray(start, start + PAGE_SIZE),
          );
          if (changed !== 0 && map[page] === 0) return false;
        }
        if (stop === 'finished') break;
      }
      return true;
    }),
    { numRuns: 10 },
  );
  t.end();
});

void test('each kind of store marks the pages it touches, one across a page boundary both', (t) => {
  const data = RAM_BASE + 0x10000;
  const stores: [string, (program: Assembler) => unknown, number[]][] = [
    ['sb', (p) => p.store('sb', 'a1', 0, 'a0'), [16]],
    ['sh', (p) => p.store('sh', 'a1', 2, 'a0'), [16]],
    ['sw', (p) => p.store('sw', 'a1', 4, 'a0'), [16]],
    ['sh misaligned', (p) => p.store('sh', 'a1', 5, 'a0'), [16]],
    ['sh across', (p) => p.store('sh', 'a1', -1, 'a0'), [15, 16]],
    ['sw across', (p) => p.store('sw', 'a1', -3, 'a0'), [15, 16]],
    ['amoadd.w', (p) => p.atomic('amoadd.w', 'a2', 'a1', 'a0'), [16]],
    ['sc.w', (p) => p.loadReserved('a3', 'a0').atomic('sc.w', 'a2', 'a1', 'a0'), [16]],
    ['sc.w that fails', (p) => p.atomic('sc.w', 'a2', 'a1', 'a0'), []],
    ['lw', (p) => p.load('lw', 'a2', 0, 'a0'), []],
  ];
  for (const [name, build, pages] of stores) {
    const program = new Assembler(RAM_BASE).li('a0', data).li('a1', 0x01010101);
    build(program);
    const machine = machineWith(program.label('end').j('end').assemble(), MIB);
    const map = new Uint8Array(MIB / PAGE_SIZE);
    machine.hart.logWrites(map);
    machine.run(20);
    t.same(
      [...map.keys()].filter((page) => map[page] !== 0),
      pages,
      name,
    );
    machine.hart.logWrites(null);
  }
  t.end();
});

void test('a program that traps into nothing uses up its steps and retires nothing', (t) => {
  const machine = machineWith(new Uint8Array(4), MIB);
  t.equal(machine.run(1000), 'steps');
  t.equal(machine.hart.retired, 0);
  t.end();
});

void test('wfi waits for an enabled interrupt; time moves by skipToTimer', (t) => {
  const program = new Assembler(RAM_BASE).li('t0', 0x02004000).li('t1', 500);
  program.store('sw', 't1', 0, 't0').store('sw', 'zero', 4, 't0');
  program.li('t2', 0x80).csr('csrrs', 'zero', 'mie', 't2').plain('wfi').csr('csrrs', 'a0', 'time', 'zero');
  program.label('end').j('end');
  const machine = machineWith(program.assemble(), MIB);
  t.equal(machine.run(1000), 'waiting');
  t.equal(machine.run(1000), 'waiting');
  const retired = machine.hart.retired;
  t.equal(machine.secondsToTimer(), (500 - Math.floor(retired / 10)) / 10_000_000);
  machine.skipToTimer();
  t.equal(machine.run(1), 'steps');
  t.equal(machine.hart.registers[10], 500);
  t.equal(machine.hart.retired, retired + 1);
  t.end();
});

void test('a hart that waits with no interrupt enabled waits for ever', (t) => {
  const machine = machineWith(new Assembler(RAM_BASE).plain('wfi').assemble(), MIB);
  t.equal(machine.run(10), 'waiting');
  t.equal(machine.secondsToTimer(), Infinity);
  t.end();
});

void test('counters go past 2^32 and can be written', (t) => {
  const program = new Assembler(RAM_BASE).li('t0', -1).csr('csrrw', 'zero', 'minstret', 't0');
  program
    .csr('csrrs', 'a0', 'minstret', 'zero')
    .csr('csrrs', 'a1', 'minstreth', 'zero')
    .label('end')
    .j('end');
  const machine = machineWith(program.assemble(), MIB);
  machine.run(4);
  t.equal(machine.hart.registers[10], -1);
  t.equal(machine.hart.registers[11], 1);
  machine.hart.retired = 2 ** 40;
  machine.run(5);
  t.equal(machine.hart.retired, 2 ** 40 + 5);
  t.end();
});
