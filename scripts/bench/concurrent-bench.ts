import type { Argv } from 'yargs';
import { MigrationError } from '../../shared/errors.js';
import { unixNow } from '../../shared/unix-clock.js';
import type { GlobalOptions, Session } from '../cli/session.js';
import {
  type ArgsOf,
  countOf,
  guestOptions,
  guestsOf,
  items,
  limitsOf,
  linksOf,
  placeOptions,
} from './bench-options.js';
import type { ConcurrentReport, ConcurrentRun, ConcurrentSeries } from './bench-report.js';
import { concurrentTable } from './concurrent-table.js';
import { runBench } from './run-bench.js';
import { VmferryMover, type VmferryTraveller } from './vmferry-mover.js';
import { workloadLabel } from './workload.js';

/** Configuration of agents that this benchmark alone starts. */
const UNLOCKED = { lock: { disabledForBenchmark: true } };

function options(command: Argv<GlobalOptions>) {
  return guestOptions(placeOptions(command), {
    memory: '512MiB',
    populated: '256MiB',
    workload: 'rewrite:64MiB@16MB',
    link: '1gbit',
  })
    .option('guest', {
      type: 'string',
      requiresArg: true,
      default: 'qemu',
      describe: 'kind of guest: qemu or embedded',
    })
    .option('guests', {
      type: 'string',
      requiresArg: true,
      default: '2,4',
      describe: 'how many guests, several numbers with commas',
    })
    .example('$0 bench concurrent --lab', 'on a link of 1 Gbit/s')
    .example('$0 bench concurrent --link none --guest embedded', 'on loopback, without QEMU');
}

type ConcurrentArgs = ArgsOf<typeof options>;

/**
 * `vmferry bench concurrent`: guests that keep writing, asked for all at once. Agents as they are move them one after the other;
 * agents whose lock is disabled, at the same time. The two take turns.
 */
export const concurrentBench = {
  name: 'concurrent',
  describe:
    'measure guests that keep writing, moved one after the other and all at once: what the lock of nodes is for',
  options,
  run: async (args: ConcurrentArgs, session: Session) => {
    const [guest, ...others] = guestsOf(args);
    const [link, ...otherLinks] = linksOf(args.link);
    if (!guest || others.length > 0 || link === undefined || otherLinks.length > 0) {
      throw new MigrationError(
        'invalid-request',
        'bench concurrent takes one --guest, --workload and --link',
      );
    }
    const counts = items('guests', args.guests).map((each) => countOf('guests', Number(each)));
    const limits = limitsOf(args);
    const { memory, populated, workload, accel, maxDowntime, maxTime, runs } = args;
    return await runBench(args, session, {
      programs: guest.kind === 'qemu' ? ['qemu'] : [],
      links: [link],
      options: {
        guest: args.guest,
        guests: args.guests,
        memory,
        populated,
        workload,
        link: args.link,
        accel,
        maxDowntime,
        maxTime,
      },
      run: async (bed, setting, say): Promise<ConcurrentReport> => {
        const { local } = bed;
        if (local === null) {
          const text = 'agents whose lock is disabled are started on this host: leave --agents out';
          throw new MigrationError('invalid-request', text);
        }
        const unlocked = await local.startNodes(['c', 'd'], UNLOCKED);
        const orders = [
          { order: 'sequential', mover: new VmferryMover(bed, accel, limits) },
          { order: 'at once', mover: new VmferryMover(bed, accel, limits, unlocked) },
        ] as const;
        const series: ConcurrentSeries[] = [];
        for (const count of counts) {
          await bed.setRate(null);
          const contenders: { order: 'sequential' | 'at once'; flock: Flock; runs: ConcurrentRun[] }[] = [];
          for (const { order, mover } of orders) {
            const travellers: VmferryTraveller[] = [];
            for (let each = 0; each < count; each += 1) travellers.push(await mover.boot(guest));
            contenders.push({ order, flock: new Flock(travellers), runs: [] });
          }
          await bed.setRate(link);
          // The first of each warms up.
          for (let run = 0; run <= runs; run += 1) {
            for (const { order, flock, runs: done } of contenders) {
              const figures = await flock.move();
              if (run === 0) continue;
              done.push(figures);
              say(`${count} guests, ${order}, run ${run}: ${figures.totalMs.toFixed(0)} ms`);
            }
          }
          for (const { order, flock, runs: done } of contenders) {
            await flock.end();
            series.push({ guests: count, workload: workloadLabel(guest.workload), order, runs: done });
          }
        }
        return { bench: 'concurrent', ...setting, series };
      },
      table: (report) => concurrentTable((report as ConcurrentReport).series),
    });
  },
};

/** Guests that are asked to move at the same moment. */
class Flock {
  readonly #travellers: readonly VmferryTraveller[];

  constructor(travellers: readonly VmferryTraveller[]) {
    this.#travellers = travellers;
  }

  async move(): Promise<ConcurrentRun> {
    await Promise.all(this.#travellers.map((traveller) => traveller.run()));
    const requestedAt = unixNow();
    const results = await Promise.all(this.#travellers.map((traveller) => traveller.move()));
    await Promise.all(this.#travellers.map((traveller) => traveller.pause()));
    return {
      totalMs: Math.max(...results.map(({ switchover }) => switchover?.resumedAt ?? NaN)) - requestedAt,
      wireBytes: results.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
      downtimesMs: results.map(
        ({ switchover }) => (switchover?.resumedAt ?? NaN) - (switchover?.stoppedAt ?? NaN),
      ),
      convergenceFailures: results.filter(({ convergence }) => convergence?.reason !== 'below-threshold')
        .length,
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#travellers.map((traveller) => traveller.end()));
  }
}
