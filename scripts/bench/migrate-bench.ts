import { MigrationError } from '../../shared/errors.js';
import type { Argv } from 'yargs';
import type { GlobalOptions, Session } from '../cli/session.js';
import { guestLabel } from './bench-guest.js';
import { guestOptions, guestsOf, limitsOf, linksOf, placeOptions, type ArgsOf } from './bench-options.js';
import type { Move, MoveReport, MoveSeries } from './bench-report.js';
import { moveSeries } from './move-series.js';
import { moveTables } from './move-table.js';
import { runBench } from './run-bench.js';
import type { TestBed } from './test-bed.js';
import { VmferryMover } from './vmferry-mover.js';

function options(command: Argv<GlobalOptions>) {
  return guestOptions(placeOptions(command), {
    memory: '1GiB',
    populated: '500MiB',
    workload: 'idle,rewrite:8MiB,xor,read,idle+compressible,idle+zero-rich',
    link: 'none',
  })
    .option('guest', {
      type: 'string',
      requiresArg: true,
      default: 'qemu',
      describe: 'kind of guest: qemu, embedded, or both with a comma between them',
    })
    .option('vm', {
      type: 'string',
      requiresArg: true,
      implies: 'agents',
      describe: 'instead of a guest of its own: a VM on the first of --agents, which is moved there and back',
    })
    .example('$0 bench migrate --lab --link 1gbit,5gbit,none --report moves.html', 'all workloads')
    .example('$0 bench migrate --guest embedded --workload idle,rewrite:8MiB@16MB', 'without QEMU')
    .example('$0 bench migrate --agents https://10.0.0.1:7800,https://10.0.0.2:7800 --vm web', 'two hosts');
}

type MigrateArgs = ArgsOf<typeof options>;

/** `vmferry bench migrate`: guests × workloads × links, moved by vmferry. */
export const migrateBench = {
  name: 'migrate',
  describe: 'measure how long moves take and what they cost, for each guest, workload and link',
  options,
  run: async (args: MigrateArgs, session: Session) => {
    const guests = guestsOf(args);
    const links = linksOf(args.link);
    const limits = limitsOf(args);
    const { guest, memory, populated, workload, link, accel, maxDowntime, maxTime, runs } = args;
    const usesQemu = args.agents === undefined && guests.some(({ kind }) => kind === 'qemu');
    return await runBench(args, session, {
      programs: usesQemu ? ['qemu'] : [],
      links,
      options: {
        guest,
        memory,
        populated,
        workload,
        link,
        accel,
        maxDowntime,
        maxTime,
        ...(args.vm !== undefined && { vm: args.vm }),
      },
      run: async (bed, setting, say): Promise<MoveReport> => {
        const mover = new VmferryMover(bed, accel, limits);
        if (args.vm !== undefined) {
          const series = [await movesOfVm(bed, mover, args.vm, runs)];
          return { bench: 'migrate', ...setting, series };
        }
        if (bed.local === null && guests.some(({ kind }) => kind === 'qemu')) {
          throw new MigrationError(
            'invalid-request',
            'a QEMU guest needs its kernel on both hosts: with --agents, use --guest embedded, or --vm NAME for a VM that runs',
          );
        }
        const series: MoveSeries[] = [];
        for (const each of guests) {
          series.push(...(await moveSeries(bed, each, { movers: [mover], links, runs }, say)));
        }
        return { bench: 'migrate', ...setting, series };
      },
      table: (report) => moveTables((report as MoveReport).series),
    });
  },
};

/** A VM of somebody's, moved there and back; it is never paused by the benchmark, and ends where it was. */
async function movesOfVm(bed: TestBed, mover: VmferryMover, vm: string, runs: number): Promise<MoveSeries> {
  const { kind, memoryBytes, status } = await bed.nodes[0].client.guest(vm);
  if (status !== 'running') {
    throw new MigrationError('wrong-state', `${vm} is ${status}: start it, and run this again`);
  }
  const traveller = mover.traveller(vm, { own: false, reports: false });
  const moves: Move[] = [];
  await traveller.migrate();
  for (let run = 1; run <= runs; run += 1) moves.push(await traveller.migrate());
  // With the one that did not count.
  if ((runs + 1) % 2 === 1) await traveller.migrate();
  return {
    mover: mover.name,
    guest: guestLabel({ kind, memoryBytes }),
    memoryBytes,
    workload: `as ${vm} runs`,
    linkBytesPerSecond: null,
    runs: moves,
  };
}
