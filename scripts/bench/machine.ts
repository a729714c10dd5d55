import { parseArgs } from 'node:util';
import { Assembler } from '../../agent/guest/embedded/assembler.js';
import { Machine } from '../../agent/guest/embedded/machine.js';
import { RAM_BASE } from '../../agent/guest/embedded/memory-map.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { median } from './median.js';

/**
 * How fast the embedded machine is, and what its write-log costs: a loop of arithmetic, and a loop of stores with the
 * log off and on, in turns within one run so that both meet the same moods of the host. Prints medians. Time is the
 * processor's: on a host that has other things to do the wall clock measures those.
 */

const MEMORY_BYTES = 16 * 2 ** 20;

/** Instructions per measurement, and what they are cut into, as the worker thread does it. */
const SAMPLE_STEPS = 5_000_000;
const BATCH_STEPS = 16_384;

/** Measurements of each loop, and those before them that let the compiler settle. */
const SAMPLES = 61;
const WARM_UP_SAMPLES = 8;

interface MachineBenchmark {
  /** Millions of instructions a second of processor time, medians. */
  arithmeticMips: number;
  storesMips: number;
  storesLoggedMips: number;
  /** Median over the pairs of what the log adds to the time of the loop of stores, as a fraction. */
  writeLogCost: number;
  samples: number;
}

/** Eight instructions a turn: additions, shifts, logic, a branch. */
function arithmeticLoop(): Uint8Array {
  const program = new Assembler(RAM_BASE).li('a0', 1).li('a1', 7).label('loop');
  program.op('add', 'a2', 'a0', 'a1').op('xor', 'a3', 'a2', 'a0').shift('slli', 'a4', 'a3', 3);
  program.op('sub', 'a5', 'a4', 'a2').op('mul', 'a6', 'a5', 'a3').op('sltu', 'a7', 'a6', 'a5');
  return program.opImmediate('addi', 'a0', 'a0', 1).j('loop').assemble();
}

/** Four stores in six instructions, over 8 MiB, a page every sixteen turns. */
function storeLoop(): Uint8Array {
  const program = new Assembler(RAM_BASE).li('a0', RAM_BASE + 2 ** 20).li('a1', RAM_BASE + 9 * 2 ** 20);
  program.label('again').mv('a2', 'a0').label('loop');
  for (const offset of [0, 64, 128, 192]) program.store('sw', 'a2', offset, 'a2');
  return program
    .opImmediate('addi', 'a2', 'a2', 256)
    .branch('bltu', 'a2', 'a1', 'loop')
    .j('again')
    .assemble();
}

function machineWith(image: Uint8Array): Machine {
  const ram = new SharedArrayBuffer(MEMORY_BYTES);
  new Uint8Array(ram).set(image);
  return new Machine(ram);
}

/** Processor time that this process has taken. ms */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Millions of instructions a second of processor time, of one measurement. */
function measure(machine: Machine): number {
  const before = machine.hart.retired;
  const start = processorMs();
  for (let steps = 0; steps < SAMPLE_STEPS; steps += BATCH_STEPS) machine.run(BATCH_STEPS);
  return (machine.hart.retired - before) / (processorMs() - start) / 1000;
}

function run(): MachineBenchmark {
  const arithmetic = machineWith(arithmeticLoop());
  const stores = machineWith(storeLoop());
  const writeMap = new Uint8Array(new SharedArrayBuffer(MEMORY_BYTES / PAGE_SIZE));
  const measureStores = (logged: boolean): number => {
    stores.hart.logWrites(logged ? writeMap : null);
    return measure(stores);
  };
  const samples: { arithmetic: number; off: number; on: number }[] = [];
  for (let sample = -WARM_UP_SAMPLES; sample < SAMPLES; sample += 1) {
    const arithmeticMips = measure(arithmetic);
    // Which of the two comes first changes, so that neither has the better place.
    const first = measureStores(sample % 2 === 0);
    const second = measureStores(sample % 2 !== 0);
    if (sample < 0) continue;
    const [on, off] = sample % 2 === 0 ? [first, second] : [second, first];
    samples.push({ arithmetic: arithmeticMips, off, on });
  }
  return {
    arithmeticMips: median(samples.map((sample) => sample.arithmetic)),
    storesMips: median(samples.map((sample) => sample.off)),
    storesLoggedMips: median(samples.map((sample) => sample.on)),
    writeLogCost: median(samples.map((sample) => sample.off / sample.on - 1)),
    samples: SAMPLES,
  };
}

const { values: options } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
const result = run();
if (options.json) {
  console.log(JSON.stringify(result));
} else {
  console.log(`arithmetic        ${result.arithmeticMips.toFixed(1)} million instructions/s`);
  console.log(`stores, log off   ${result.storesMips.toFixed(1)} million instructions/s`);
  console.log(`stores, log on    ${result.storesLoggedMips.toFixed(1)} million instructions/s`);
  console.log(
    `write-log cost    ${(result.writeLogCost * 100).toFixed(1)} % (median of ${result.samples} pairs)`,
  );
}
