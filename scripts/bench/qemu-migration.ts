import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GuestDefinitionSchema, type QemuDefinition } from '../../shared/guest-definition.js';
import { formatTable } from '../cli/table.js';
import { buildLinuxGuest, linuxBoot } from '../lab/guests/linux/linux-guest.js';
import { qemuProcesses } from '../lab/qemu-processes.js';
import { median } from './median.js';
import type { Contender, Move, Traveller } from './qemu/contender.js';
import { QemuContender } from './qemu/qemu-contender.js';
import { VmferryContender } from './qemu/vmferry-contender.js';

/**
 * Downtime and total time of vmferry beside QEMU's own migration, of the same Linux guest, between two QEMUs on this
 * machine. The contenders take turns, so that all meet the same machine; whoever's turn it is not rests. Ratios are to the
 * faster of QEMU's two ways to move the very same guest, whose RAM is a shared file; beside them stands how fast QEMU is
 * with RAM of its own, which vmferry can't move.
 *
 *   node dist/scripts/bench/qemu-migration.js [--runs 5] [--workloads 0,1,8,64] [--accel tcg] [--json]
 */

const MEMORY = '1GiB';
/** Filled by the guest's own program; with the kernel it makes half of its memory. MiB */
const FILLED_MIB = 480;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    /** What the guest writes again and again, in MiB; 0: nothing. */
    workloads: { type: 'string', default: '0,1,8,64' },
    accel: { type: 'string', default: 'tcg' },
    json: { type: 'boolean', default: false },
  },
});
const runs = Number(values.runs);
const workloads = values.workloads.split(',').map(Number);
const say = (text: string) => void (values.json ? undefined : process.stdout.write(`${text}\n`));

interface Figures {
  readonly hotMiB: number;
  readonly contender: string;
  /** Medians. ms */
  readonly totalMs: number;
  readonly copyMs: number;
  readonly downtimeMs: number;
  readonly moves: readonly Move[];
}

async function bench(contenders: readonly Contender[], definition: (hotMiB: number) => QemuDefinition) {
  const figures: Figures[] = [];
  for (const hotMiB of workloads) {
    const travellers: { contender: Contender; traveller: Traveller; moves: Move[] }[] = [];
    for (const contender of contenders) {
      const traveller = await contender.boot(definition(hotMiB), /filled MiB/);
      travellers.push({ contender, traveller, moves: [] });
    }
    // The first of each warms up: code is compiled, memory has been used.
    for (let run = 0; run <= runs; run += 1) {
      for (const { traveller, moves } of travellers) {
        const move = await traveller.migrate();
        if (run > 0) moves.push(move);
      }
    }
    for (const { contender, traveller, moves } of travellers) {
      await traveller.end();
      figures.push({
        hotMiB,
        contender: contender.name,
        totalMs: median(moves.map(({ totalMs }) => totalMs)),
        copyMs: median(moves.map(({ copyMs }) => copyMs)),
        downtimeMs: median(moves.map(({ downtimeMs }) => downtimeMs)),
        moves,
      });
    }
    say(table(figures.filter((each) => each.hotMiB === hotMiB)));
  }
  return figures;
}

const COLUMNS = [
  { heading: 'rewriting' },
  { heading: 'by' },
  { heading: 'total ms', figures: true },
  { heading: '' },
  { heading: 'ratio', figures: true },
  { heading: 'copy ms', figures: true },
  { heading: 'ratio', figures: true },
  { heading: 'STOP-RESUME ms', figures: true },
  { heading: '' },
];

/** QEMU's ways to move a guest that vmferry can move as well. */
const SAME_GUEST = new Set(['QEMU precopy', 'QEMU multifd']);

function table(figures: readonly Figures[]): string {
  const others = figures.filter(({ contender }) => SAME_GUEST.has(contender));
  const best = Math.min(...others.map(({ totalMs }) => totalMs));
  const bestCopy = Math.min(...others.map(({ copyMs }) => copyMs));
  const rows = figures.map(({ hotMiB, contender, totalMs, copyMs, downtimeMs, moves }) => [
    hotMiB === 0 ? 'idle' : `${hotMiB} MiB`,
    contender,
    ...[ms(totalMs), range(moves.map((move) => move.totalMs)), (totalMs / best).toFixed(2)],
    ...[ms(copyMs), (copyMs / bestCopy).toFixed(2)],
    ...[ms(downtimeMs), range(moves.map((move) => move.downtimeMs))],
  ]);
  return formatTable(COLUMNS, rows);
}

function ms(value: number): string {
  return value.toFixed(1);
}

function range(of: readonly number[]): string {
  return `(${ms(Math.min(...of))} to ${ms(Math.max(...of))})`;
}

const directory = await mkdtemp(join(tmpdir(), 'vmferry-bench-'));
const memoryDirectory = await mkdtemp('/dev/shm/vmferry-bench-');

/** A QEMU of vmferry's outlives its agent; whatever ends the benchmark, it does not stay. */
function clearAway(): void {
  for (const pid of qemuProcesses(memoryDirectory)) process.kill(pid, 'SIGKILL');
  for (const each of [directory, memoryDirectory]) rmSync(each, { recursive: true, force: true });
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    clearAway();
    process.exit(1);
  });
}

const contenders: Contender[] = [];
try {
  const initrd = join(directory, 'initrd');
  await buildLinuxGuest(initrd);
  const definition = (hotMiB: number) =>
    GuestDefinitionSchema.parse({
      name: `hot-${hotMiB}`,
      kind: 'qemu',
      memory: MEMORY,
      accel: values.accel,
      boot: linuxBoot(initrd, { memory: [{ mode: 'rewrite', mib: FILLED_MIB, hotMiB }] }),
    }) as QemuDefinition;
  const place = { directory, memoryDirectory };
  contenders.push(await VmferryContender.start(place));
  for (const privateRam of [false, true]) {
    for (const multifd of [false, true]) contenders.push(new QemuContender(place, { multifd, privateRam }));
  }
  const host = { processors: availableParallelism(), node: process.version, accel: values.accel };
  say(
    `${runs} migrations of each, in turns; ${MEMORY} of memory, ${FILLED_MIB} MiB filled; ${JSON.stringify(host)}`,
  );
  const figures = await bench(contenders, definition);
  if (values.json) process.stdout.write(`${JSON.stringify({ runs, ...host, figures })}\n`);
} finally {
  await Promise.allSettled(contenders.map((contender) => contender.close()));
  clearAway();
}
