import type { Argv } from 'yargs';
import { MigrationError } from '../../shared/errors.js';
import { formatBytes } from '../../shared/units.js';
import type { GlobalOptions, Session } from '../cli/session.js';
import { formatTable } from '../cli/table.js';
import { type BenchGuest, possible } from './bench-guest.js';
import { type ArgsOf, limitsOf, linksOf, measureOptions, placeOptions, sizesOf } from './bench-options.js';
import type { HarvestSeries, MoveSeries, ScaleReport } from './bench-report.js';
import { harvestCost } from './harvest-cost.js';
import { moveSeries } from './move-series.js';
import { moveTables } from './move-table.js';
import { runBench } from './run-bench.js';
import { spreadOf, spreadText } from './spread.js';
import { VmferryMover } from './vmferry-mover.js';
import { parseWorkload } from './workload.js';

/** Harvests of each size: they are short. */
const HARVESTS = 21;

function options(command: Argv<GlobalOptions>) {
  return measureOptions(placeOptions(command), 'none')
    .option('memory', {
      type: 'string',
      requiresArg: true,
      default: '1GiB,2GiB,4GiB,8GiB',
      describe: 'sizes of memory, all measured with the first of --populated',
    })
    .option('populated', {
      type: 'string',
      requiresArg: true,
      default: '500MiB,1GiB,2GiB',
      describe: 'how much of it is in use, all measured with the last of --memory',
    })
    .example('$0 bench scale', 'idle guests of 1 to 8 GiB with 500 MiB in use, and 8 GiB with up to 2 GiB');
}

type ScaleArgs = ArgsOf<typeof options>;

/** `vmferry bench scale`: what a move and a harvest cost against the memory of a guest, and against what is in use of it. */
export const scaleBench = {
  name: 'scale',
  describe:
    'measure how the time of a move, and of finding what was written, grows with memory and with what is in use of it',
  options,
  run: async (args: ScaleArgs, session: Session) => {
    const guests = guestsOfSizes(sizesOf('memory', args.memory), sizesOf('populated', args.populated));
    const links = linksOf(args.link);
    const limits = limitsOf(args);
    const { memory, populated, link, accel, maxDowntime, maxTime, runs } = args;
    return await runBench(args, session, {
      programs: ['qemu'],
      links,
      options: { memory, populated, link, accel, maxDowntime, maxTime },
      run: async (bed, setting, say): Promise<ScaleReport> => {
        const { local } = bed;
        if (local === null) {
          const text = 'guests of these sizes are booted on this host: leave --agents out';
          throw new MigrationError('invalid-request', text);
        }
        const movers = [new VmferryMover(bed, accel, limits)];
        const series: MoveSeries[] = [];
        const harvests: HarvestSeries[] = [];
        for (const guest of guests) {
          const inUse = ` with ${formatBytes(guest.populatedBytes)} in use`;
          const moves = await moveSeries(bed, guest, { movers, links, runs }, say);
          series.push(...moves.map((each) => ({ ...each, guest: `${each.guest}${inUse}` })));
          const harvest = await harvestCost(local, guest, { accel, runs: HARVESTS });
          harvests.push({ ...harvest, guest: `${harvest.guest}${inUse}` });
          say(`${harvest.guest}${inUse}: harvest ${spreadText(spreadOf(harvest.runs))} ms`);
        }
        return { bench: 'scale', ...setting, series, harvests };
      },
      table: (report) => {
        const { series, harvests } = report as ScaleReport;
        return `${moveTables(series)}\n\n${harvestTable(harvests)}`;
      },
    });
  },
};

/** All memory sizes with the first populated part, and all populated parts with the last memory size. */
export function guestsOfSizes(memory: readonly number[], populated: readonly number[]): BenchGuest[] {
  const workload = parseWorkload('idle');
  const guest = (memoryBytes: number, populatedBytes: number) =>
    possible({ kind: 'qemu', memoryBytes, populatedBytes, workload });
  return [
    ...memory.map((bytes) => guest(bytes, populated[0]!)),
    ...populated.slice(1).map((bytes) => guest(memory.at(-1)!, bytes)),
  ];
}

function harvestTable(harvests: readonly HarvestSeries[]): string {
  return formatTable(
    [
      { heading: 'guest' },
      { heading: 'write-log' },
      { heading: 'harvest ms', figures: true },
      { heading: 'ms a GiB', figures: true },
    ],
    harvests.map(({ guest, memoryBytes, writeLog, runs }) => {
      const spread = spreadOf(runs);
      return [guest, writeLog, spreadText(spread), ((spread.median * 2 ** 30) / memoryBytes).toFixed(2)];
    }),
  );
}
