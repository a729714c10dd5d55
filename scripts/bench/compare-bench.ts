import type { Argv } from 'yargs';
import { MigrationError } from '../../shared/errors.js';
import type { GlobalOptions, Session } from '../cli/session.js';
import {
  guestOptions,
  guestsOf,
  items,
  limitsOf,
  linksOf,
  placeOptions,
  type ArgsOf,
} from './bench-options.js';
import type { MoveReport, MoveSeries } from './bench-report.js';
import { moveSeries } from './move-series.js';
import { moveTables } from './move-table.js';
import type { Mover } from './mover.js';
import { builtInMethods, QEMU_METHODS, QemuMover } from './qemu-mover.js';
import { runBench } from './run-bench.js';
import { VmferryMover } from './vmferry-mover.js';

const METHOD_NAMES = QEMU_METHODS.map(({ name }) => name);

function options(command: Argv<GlobalOptions>) {
  return guestOptions(placeOptions(command), {
    memory: '1GiB',
    populated: '500MiB',
    workload: 'idle,rewrite:8MiB',
    link: 'none',
  })
    .option('methods', {
      type: 'string',
      requiresArg: true,
      default: METHOD_NAMES.join(','),
      describe: "QEMU's ways of migrating, with commas between them; those that this QEMU lacks are left out",
    })
    .option('private-ram', {
      type: 'boolean',
      default: false,
      describe: "measure QEMU with private RAM, too, which vmferry can't move",
    })
    .example('$0 bench compare --lab --link none,1gbit', 'between two hosts made on this machine');
}

type CompareArgs = ArgsOf<typeof options>;

/**
 * `vmferry bench compare`: the same guest under the same workload over the same link, moved by vmferry and by QEMU's own
 * migration in turns. QEMU gets the guest's RAM as a shared file, as vmferry needs it; with --private-ram, QEMU with RAM of
 * its own is shown beside.
 */
export const compareBench = {
  name: 'compare',
  describe: "measure vmferry beside QEMU's own migration, with the same guest, workload and link",
  options,
  run: async (args: CompareArgs, session: Session) => {
    const guests = guestsOf({ ...args, guest: 'qemu' });
    const links = linksOf(args.link);
    const limits = limitsOf(args);
    const methods = items('methods', args.methods);
    const unknown = methods.find((name) => !METHOD_NAMES.includes(name));
    if (unknown !== undefined) {
      const known = METHOD_NAMES.join(', ');
      throw new MigrationError('invalid-request', `--methods: QEMU has no '${unknown}': ${known}`);
    }
    const { memory, populated, workload, link, accel, privateRam, maxDowntime, maxTime, runs } = args;
    return await runBench(args, session, {
      programs: ['qemu'],
      links,
      options: {
        memory,
        populated,
        workload,
        link,
        accel,
        methods: args.methods,
        privateRam,
        maxDowntime,
        maxTime,
      },
      run: async (bed, setting, say): Promise<MoveReport> => {
        const { local } = bed;
        if (local === null) {
          throw new MigrationError(
            'invalid-request',
            'QEMUs of its own can be started on this host alone: leave --agents out',
          );
        }
        const built = await builtInMethods(QEMU_METHODS.filter(({ name }) => methods.includes(name)));
        for (const name of methods) {
          if (!built.some((method) => method.name === name)) say(`QEMU has no ${name} here: it is left out`);
        }
        const movers: Mover[] = [new VmferryMover(bed, accel, limits)];
        for (const own of privateRam ? [false, true] : [false]) {
          movers.push(...built.map((method) => new QemuMover(local, accel, limits, method, own)));
        }
        const series: MoveSeries[] = [];
        for (const guest of guests)
          series.push(...(await moveSeries(bed, guest, { movers, links, runs }, say)));
        return { bench: 'compare', ...setting, series };
      },
      table: (report) => moveTables((report as MoveReport).series),
    });
  },
};
