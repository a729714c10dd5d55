import type { RoundResult } from '../../shared/api.js';
import type {
  BenchReport,
  BenchSetting,
  ConcurrentReport,
  ConcurrentSeries,
  HarvestSeries,
  LinkReport,
  LinkSeries,
  Move,
  MoveReport,
  MoveSeries,
  ScaleReport,
} from '../../scripts/bench/bench-report.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes } from '../../shared/units.js';

/** Reports as benchmarks make them, without the benchmarks: the same every time, and spread as measured runs are. */

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const GBIT = 125e6;
const RUNS = 5;

/** Run n differs from the median by this factor. */
const SPREAD = [1, 0.94, 1.03, 1.12, 0.97];

function spread(median: number): number[] {
  return SPREAD.slice(0, RUNS).map((factor) => median * factor);
}

function setting(command: string, linkBytesPerSecond: number | null = null): BenchSetting {
  return {
    startedAt: '2031-03-14T09:26:53.589Z',
    command,
    host: {
      processor: 'Imaginary Xenon 6430 @ 2.10GHz',
      processors: 8,
      memoryBytes: 31.2 * GIB,
      kernel: '6.12.9-amd64',
      hugePages: 'advise',
      versions: { node: 'v20.19.2', vmferry: '0.1.0', qemu: '7.2.17' },
    },
    link: {
      kind: linkBytesPerSecond === null ? 'loopback' : 'lab',
      agents: ['http://10.77.0.1:7800', 'http://10.77.0.2:7800'],
      bytesPerSecond: linkBytesPerSecond,
    },
    options: { runs: RUNS, warmUp: 1, maxDowntime: '30ms', streams: 1, verify: false },
  };
}

/** What a move of a guest was like; what is not said is that of a quick one of an idle guest. */
export interface MoveTraits {
  readonly totalMs: number;
  readonly downtimeMs: number;
  readonly populatedBytes?: number;
  /** 0: not told. */
  readonly rounds?: number;
  readonly workKept?: number | null;
  readonly wireFactor?: number;
  readonly cpuFactor?: number;
  readonly intact?: boolean;
}

/** What the switchover has left to send. */
const LAST_PAGES = 96;

/** Rounds of which each is smaller than the one before by the same factor, the last one in the switchover. */
function roundsOf(count: number, populatedBytes: number, liveMs: number): RoundResult[] {
  const first = populatedBytes / PAGE_SIZE;
  const shrink = (LAST_PAGES / first) ** (1 / (count - 1));
  const pagesOf = (round: number) => (round < count ? Math.round(first * shrink ** round) : 0);
  const all = Array.from({ length: count }, (_, round) => pagesOf(round)).reduce(
    (sum, pages) => sum + pages,
    0,
  );
  return Array.from({ length: count }, (_, round) => {
    const pages = pagesOf(round);
    const residualPages = pagesOf(round + 1);
    const zeroPages = round === 0 ? Math.round(pages / 20) : 0;
    const bytes = (pages - zeroPages) * PAGE_SIZE;
    const ms = (liveMs * 0.97 * pages) / all;
    return {
      round,
      pages,
      zeroPages,
      bytes,
      wireBytes: Math.round(bytes * 1.002),
      ms,
      bytesPerSecond: (bytes / ms) * 1000,
      dirtyPagesPerSecond: (residualPages / ms) * 1000,
      residualPages,
    };
  });
}

export function sampleMove({
  totalMs,
  downtimeMs,
  populatedBytes = 500 * MIB,
  rounds = 0,
  workKept = 0.9,
  wireFactor = 1.05,
  cpuFactor = 0.8,
  intact = true,
}: MoveTraits): Move {
  const copyMs = totalMs * 0.92;
  const part = (share: number) => downtimeMs * share;
  return {
    totalMs,
    copyMs,
    downtimeMs,
    downtimeParts:
      rounds > 0
        ? { pause: part(0.06), residual: part(0.31), state: part(0.16), load: part(0.25), resume: part(0.22) }
        : {},
    stoppedAfterMs: totalMs - downtimeMs,
    populatedBytes,
    wireBytes: Math.round(populatedBytes * wireFactor),
    roundCount: rounds > 0 ? rounds : 3,
    rounds: rounds > 0 ? roundsOf(rounds, populatedBytes, copyMs - downtimeMs) : [],
    convergence: 'below-threshold',
    cpuMs: { source: totalMs * cpuFactor, target: totalMs * cpuFactor * 0.7 },
    // A guest that crashed has told too little to know its rate on the target.
    workPerSecond:
      workKept === null || !intact ? null : { before: 8200, during: 8200 * workKept, after: 8150 },
    intact,
  };
}

/** `crashes`: indices of the runs after which the guest had crashed. */
function moves(traits: MoveTraits, crashes: readonly number[] = []): Move[] {
  return SPREAD.slice(0, RUNS).map((factor, run) =>
    sampleMove({
      ...traits,
      totalMs: traits.totalMs * factor,
      intact: !crashes.includes(run),
      downtimeMs: traits.downtimeMs * (SPREAD[(run + 2) % RUNS] ?? 1) ** 2,
      ...(typeof traits.workKept === 'number' ? { workKept: Math.min(1, traits.workKept / factor) } : {}),
    }),
  );
}

const linkSeries = (
  linkBytesPerSecond: number | null,
  runs: Readonly<Record<string, readonly number[]>>,
): LinkSeries[] => Object.entries(runs).map(([name, runs]) => ({ name, linkBytesPerSecond, runs }));

/** On a link without a cap, and on one of 5 Gbit/s. */
export function linkSample(): LinkReport {
  return {
    ...setting('vmferry bench link --lab --link none,5gbit --runs 5'),
    bench: 'link',
    series: [
      ...linkSeries(null, {
        'vmferry, embedded': spread(4.72e9),
        'vmferry, qemu': spread(3.9e9),
        'iperf3, default block': spread(3.41e9).reverse(),
        'iperf3, 1 MiB block': spread(4.85e9),
      }),
      ...linkSeries(5 * GBIT, {
        'vmferry, embedded': [620.4e6, 621.1e6, 619.8e6, 620.9e6, 620.6e6],
        'vmferry, qemu': [619.7e6, 620.3e6, 619.1e6, 620.2e6, 620.0e6],
        'iperf3, default block': [617.9e6, 618.4e6, 616.2e6, 618.1e6, 617.5e6],
        'iperf3, 1 MiB block': [621.0e6, 620.8e6, 621.3e6, 620.9e6, 621.1e6],
      }),
    ],
  };
}

/** On one capped link alone. */
export function cappedLinkSample(): LinkReport {
  return {
    ...setting('vmferry bench link --lab --link 1gbit --memory embedded', GBIT),
    bench: 'link',
    series: linkSeries(GBIT, {
      'vmferry, embedded': [122.1e6, 122.4e6, 121.9e6, 122.3e6, 122.2e6],
      'iperf3, default block': [119.4e6, 119.6e6, 119.5e6, 119.1e6, 119.5e6],
    }),
  };
}

export function compareSample(): MoveReport {
  const movers = (
    workload: string,
    linkBytesPerSecond: number | null,
    of: Readonly<Record<string, MoveTraits>>,
    crashes: Readonly<Record<string, readonly number[]>> = {},
  ): MoveSeries[] =>
    Object.entries(of).map(([mover, traits]) => ({
      mover,
      guest: 'qemu 1.0 GiB',
      memoryBytes: GIB,
      workload,
      linkBytesPerSecond,
      runs: moves(traits, crashes[mover]),
    }));
  return {
    ...setting(
      'vmferry bench compare --lab --link none,1gbit --workload idle,rewrite:8MiB --private-ram --runs 5',
    ),
    bench: 'compare',
    series: [
      ...movers('idle', null, {
        vmferry: { totalMs: 412, downtimeMs: 6.9, rounds: 2, workKept: null },
        'QEMU precopy': { totalMs: 2130, downtimeMs: 9.4, workKept: null, wireFactor: 1.01 },
        'QEMU multifd 4': { totalMs: 1420, downtimeMs: 12.8, workKept: null, wireFactor: 1.01 },
        'QEMU multifd 8': { totalMs: 1510, downtimeMs: 14.1, workKept: null, wireFactor: 1.01 },
        'QEMU xbzrle': { totalMs: 2260, downtimeMs: 9.9, workKept: null },
      }),
      ...movers(
        'rewrite 8.0 MiB',
        null,
        {
          vmferry: { totalMs: 486, downtimeMs: 13.7, rounds: 4, workKept: 0.91 },
          'QEMU precopy': { totalMs: 2480, downtimeMs: 21.5, workKept: 0.64, wireFactor: 1.12 },
          'QEMU multifd 4': { totalMs: 1630, downtimeMs: 24.2, workKept: 0.58, wireFactor: 1.1 },
          'QEMU xbzrle': { totalMs: 2710, downtimeMs: 19.9, workKept: 0.6 },
          'QEMU precopy, private RAM': { totalMs: 1340, downtimeMs: 17.5, workKept: 0.66 },
        },
        { 'QEMU precopy': [1, 3], 'QEMU multifd 4': [4], 'QEMU xbzrle': [0, 1, 2, 3, 4] },
      ),
      ...movers('rewrite 8.0 MiB', GBIT, {
        vmferry: { totalMs: 4390, downtimeMs: 18.2, rounds: 6, workKept: 0.97, cpuFactor: 0.1 },
        'QEMU precopy': { totalMs: 5210, downtimeMs: 31.5, workKept: 0.95, wireFactor: 1.2, cpuFactor: 0.3 },
        'QEMU multifd 4': {
          totalMs: 5120,
          downtimeMs: 34.2,
          workKept: 0.94,
          wireFactor: 1.2,
          cpuFactor: 0.3,
        },
      }),
    ],
  };
}

export function migrateSample(): MoveReport {
  const series = (guest: string, workload: string, traits: MoveTraits): MoveSeries => ({
    mover: 'vmferry',
    guest,
    memoryBytes: guest.startsWith('embedded') ? 256 * MIB : GIB,
    workload,
    linkBytesPerSecond: null,
    runs: moves(traits),
  });
  return {
    ...setting('vmferry bench migrate --runs 5'),
    bench: 'migrate',
    series: [
      series('qemu 1.0 GiB', 'idle', { totalMs: 412, downtimeMs: 6.9, rounds: 2, workKept: null }),
      series('qemu 1.0 GiB', 'rewrite 8.0 MiB', { totalMs: 486, downtimeMs: 13.7, rounds: 4 }),
      series('qemu 1.0 GiB', 'random xor', { totalMs: 1830, downtimeMs: 212, rounds: 14, wireFactor: 4.2 }),
      series('qemu 1.0 GiB', 'read-mostly', { totalMs: 451, downtimeMs: 8.2, rounds: 3, workKept: 0.98 }),
      series('qemu 1.0 GiB', 'zero-rich', { totalMs: 208, downtimeMs: 7.4, rounds: 2, wireFactor: 0.21 }),
      series('embedded 256 MiB', 'idle', { totalMs: 161, downtimeMs: 5.1, rounds: 2, workKept: null }),
      series('embedded 256 MiB', 'rewrite 8.0 MiB', {
        totalMs: 233,
        downtimeMs: 11.3,
        rounds: 3,
        workKept: 0.83,
      }),
    ],
  };
}

/** Memory of 1 to 8 GiB with 500 MiB in use, and 8 GiB with more of it in use. */
export function scaleSample(): ScaleReport {
  const sizes = [
    ...[1, 2, 4, 8].map((memoryGiB) => ({ memoryGiB, populatedBytes: 500 * MIB })),
    ...[1, 2, 4].map((populatedGiB) => ({ memoryGiB: 8, populatedBytes: populatedGiB * GIB })),
  ].map(({ memoryGiB, populatedBytes }) => ({
    guest: `qemu ${memoryGiB}.0 GiB with ${formatBytes(populatedBytes)} in use`,
    memoryGiB,
    memoryBytes: memoryGiB * GIB,
    // What is in use is never to the byte what was asked for.
    populatedBytes: populatedBytes + 2 * memoryGiB * MIB,
  }));
  return {
    ...setting('vmferry bench scale --populated 500MiB,1GiB,2GiB,4GiB --runs 5'),
    bench: 'scale',
    series: sizes.map(({ guest, memoryGiB, memoryBytes, populatedBytes }): MoveSeries => ({
      mover: 'vmferry',
      guest,
      memoryBytes,
      workload: 'idle',
      linkBytesPerSecond: null,
      runs: moves({
        totalMs: 60 + (0.68 * populatedBytes) / MIB + 9 * memoryGiB,
        downtimeMs: 6 + 0.7 * memoryGiB,
        populatedBytes,
        rounds: 2,
        workKept: null,
      }),
    })),
    harvests: sizes.map(({ guest, memoryBytes, populatedBytes }): HarvestSeries => {
      const medianMs = 0.12 + (0.19 * memoryBytes) / GIB + (0.71 * populatedBytes) / GIB;
      return {
        guest,
        memoryBytes,
        populatedBytes,
        writeLog: 'userfaultfd',
        runs: Array.from({ length: 21 }, (_, run) => medianMs * (SPREAD[run % RUNS] ?? 1)),
      };
    }),
  };
}

export function concurrentSample(): ConcurrentReport {
  const series = (
    guests: number,
    order: ConcurrentSeries['order'],
    totalMs: number,
    downtimeMs: number,
    failures: readonly number[],
  ): ConcurrentSeries => ({
    guests,
    workload: 'rewrite 64.0 MiB at 16.0 MB/s',
    order,
    runs: spread(totalMs).map((total, run) => ({
      totalMs: total,
      wireBytes: Math.round(total * 1e-3 * 0.97 * GBIT),
      downtimesMs: Array.from(
        { length: guests },
        (_, guest) => downtimeMs * (1 + guest / 4) * (SPREAD[run] ?? 1),
      ),
      convergenceFailures: failures[run] ?? 0,
    })),
  });
  return {
    ...setting('vmferry bench concurrent --lab --link 1gbit --guests 2,4', GBIT),
    bench: 'concurrent',
    series: [
      series(2, 'sequential', 5200, 27, []),
      series(2, 'at once', 9100, 61, [0, 1, 0, 0, 1]),
      series(4, 'sequential', 10_600, 28, []),
      series(4, 'at once', 31_800, 290, [3, 4, 4, 3, 4]),
    ],
  };
}

/** One of each kind. */
export function benchSamples(): BenchReport[] {
  return [linkSample(), migrateSample(), compareSample(), concurrentSample(), scaleSample()];
}
