import { median } from '../bench/median.js';
import { fillOf } from '../bench/bench-guest.js';
import { linkName } from '../bench/report/move-sections.js';
import { parseWorkload, type Workload, workloadLabel } from '../bench/workload.js';
import { MigrationOptionsSchema } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { parseBytes, parseDuration } from '../../shared/units.js';
import type { BenchResults, MeasuredFlocks, MeasuredMove, MeasuredMoves } from './bench-results.js';
import type { WorkingSet } from './dirtying.js';
import { type Overheads, precopyAlone } from './precopy.js';
import { type MigrationRules, runMoves } from './run-moves.js';
import { EMBEDDED_OVERHEADS, QEMU_OVERHEADS } from './scenario.js';

/** One figure of a series of measured runs, with what the model says to it. */
export interface Comparison {
  /** 'qemu 512 MiB, rewrite 64.0 MiB at 16.0 MB/s, 1 Gbit/s' */
  readonly series: string;
  readonly figure: 'total' | 'sent' | 'rounds' | 'downtime' | 'longest downtime' | 'not converged';
  /** Medians of the runs. ms, bytes, or a count */
  readonly predicted: number;
  readonly measured: number;
}

/** What the model can say nothing to, and why. */
export interface LeftOut {
  readonly series: string;
  readonly reason: string;
}

export interface Predictions {
  readonly comparisons: readonly Comparison[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * What the model says to the runs of a benchmark. It is told of each run what was known before it: memory in use, the working
 * set, the guest's write rate before the move, the cap of the link, the limits asked for. Nothing that the move itself showed.
 */
export function predict(results: BenchResults): Predictions {
  return results.bench === 'migrate' ? predictMoves(results) : predictFlocks(results);
}

/** Why nothing is said. */
class Unpredictable extends Error {}

function collect<Series>(
  all: readonly Series[],
  name: (series: Series) => string,
  compare: (series: Series) => Omit<Comparison, 'series'>[],
): Predictions {
  const comparisons: Comparison[] = [];
  const leftOut: LeftOut[] = [];
  for (const each of all) {
    const series = name(each);
    try {
      comparisons.push(...compare(each).map((comparison) => ({ series, ...comparison })));
    } catch (thrown) {
      if (!(thrown instanceof Unpredictable)) throw thrown;
      leftOut.push({ series, reason: thrown.message });
    }
  }
  return { comparisons, leftOut };
}

function predictMoves({ options, series }: MeasuredMoves): Predictions {
  const rules = rulesOf(options);
  return collect(
    series,
    ({ guest, workload, linkBytesPerSecond }) => `${guest}, ${workload}, ${linkName(linkBytesPerSecond)}`,
    ({ guest, memoryBytes, workload: label, linkBytesPerSecond, runs }) => {
      const bytesPerMs = rateOf(linkBytesPerSecond);
      const kind = guest.startsWith('embedded') ? 'embedded' : 'qemu';
      const workload = workloadOf(options.workload, label);
      const fillBytes = fillOf({
        kind,
        memoryBytes,
        populatedBytes: parseBytes(options.populated),
        workload,
      });
      const predicted = runs.map((run) =>
        precopyAlone(
          { populatedBytes: run.populatedBytes, writes: writesOf(workload, fillBytes, run.workPerSecond) },
          rules,
          overheadsOf(kind),
          bytesPerMs,
        ),
      );
      const measured = (of: (run: MeasuredMove) => number) => median(runs.map(of));
      const model = (of: (run: (typeof predicted)[number]) => number) => median(predicted.map(of));
      return [
        {
          figure: 'total',
          predicted: model(({ totalMs }) => totalMs),
          measured: measured(({ totalMs }) => totalMs),
        },
        {
          figure: 'sent',
          predicted: model(({ wireBytes }) => wireBytes),
          measured: measured(({ wireBytes }) => wireBytes),
        },
        {
          figure: 'rounds',
          predicted: model(({ rounds }) => rounds),
          measured: measured(({ roundCount }) => roundCount),
        },
        {
          figure: 'downtime',
          predicted: model(({ downtimeMs }) => downtimeMs),
          measured: measured(({ downtimeMs }) => downtimeMs),
        },
      ];
    },
  );
}

function predictFlocks({ options, link, series }: MeasuredFlocks): Predictions {
  const rules = rulesOf(options);
  const memoryBytes = parseBytes(options.memory);
  const populatedBytes = parseBytes(options.populated);
  return collect(
    series,
    ({ guests, workload, order }) => `${guests} guests, ${workload}, ${order}`,
    ({ guests, workload: label, order, runs }) => {
      const workload = workloadOf(options.workload, label);
      const fillBytes = fillOf({ kind: options.guest, memoryBytes, populatedBytes, workload });
      const writes = writesOf(workload, fillBytes, null);
      const capacity = rateOf(link.bytesPerSecond);
      const guest = { node: 0, memoryBytes, populatedBytes, writes };
      const cluster = {
        linkRates: [capacity, capacity],
        guests: Array.from({ length: guests }, () => guest),
      };
      const moves = cluster.guests.map((_, index) => ({ guest: index, to: 1 }));
      const policy = order === 'sequential' ? 'pair-lock' : guests;
      const run = runMoves(cluster, [() => moves], policy, rules, overheadsOf(options.guest));
      return [
        {
          figure: 'total',
          predicted: run.totalMs,
          measured: median(runs.map(({ totalMs }) => totalMs)),
        },
        {
          figure: 'sent',
          predicted: run.migrations.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
          measured: median(runs.map(({ wireBytes }) => wireBytes)),
        },
        {
          figure: 'longest downtime',
          predicted: Math.max(...run.migrations.map(({ downtimeMs }) => downtimeMs)),
          measured: median(runs.map(({ downtimesMs }) => Math.max(...downtimesMs))),
        },
        {
          figure: 'not converged',
          predicted: run.migrations.filter(({ reason }) => reason !== 'below-threshold').length,
          measured: median(runs.map(({ convergenceFailures }) => convergenceFailures)),
        },
      ];
    },
  );
}

function rulesOf({ maxDowntime, maxTime }: { maxDowntime: string; maxTime: string }): MigrationRules {
  return {
    ...MigrationOptionsSchema.parse({
      maxDowntimeMs: parseDuration(maxDowntime),
      maxTotalMs: parseDuration(maxTime),
    }),
    bandwidth: Infinity,
  };
}

function overheadsOf(kind: 'qemu' | 'embedded'): Overheads {
  return kind === 'qemu' ? QEMU_OVERHEADS : EMBEDDED_OVERHEADS;
}

/** bytes/ms */
function rateOf(bytesPerSecond: number | null): number {
  if (bytesPerSecond !== null) return bytesPerSecond / 1000;
  throw new Unpredictable('its link had no cap, so that its rate is not known');
}

/** The workload of a label, among those that the benchmark was asked for. */
function workloadOf(asked: string, label: string): Workload {
  const workload = asked
    .split(',')
    .map(parseWorkload)
    .find((each) => workloadLabel(each) === label);
  if (!workload) throw new Unpredictable(`its workload is none of those asked for (${asked})`);
  if (workload.content !== 'zero-rich') return workload;
  throw new Unpredictable('the model knows no pages that are zero');
}

/** How many pages the workload `read` reads for one that it writes: scripts/lab/guests/linux/workload.c. */
const READS_PER_WRITE = 64;

/** `work`: pages that the guest was done with in a second before the move, where it tells. */
function writesOf(workload: Workload, fillBytes: number, work: { before: number } | null): WorkingSet[] {
  const { activity, hotBytes, bytesPerSecond } = workload;
  if (activity === 'idle') return [];
  const rate = work ? work.before * PAGE_SIZE : bytesPerSecond;
  if (rate === 0) throw new Unpredictable('how fast its guest wrote before the move is not known');
  const bytesPerMs = rate / 1000;
  switch (activity) {
    case 'rewrite':
      return [{ bytes: hotBytes, bytesPerMs, order: 'in-turn' }];
    case 'xor':
      return [{ bytes: fillBytes, bytesPerMs, order: 'random' }];
    case 'read':
      return [
        { bytes: fillBytes / READS_PER_WRITE, bytesPerMs: bytesPerMs / READS_PER_WRITE, order: 'in-turn' },
      ];
  }
}
