import type { RoundResult } from '../../shared/api.js';

/**
 * What a benchmark prints with --json, and what its HTML report is drawn from. All times are in ms, all rates in bytes a second
 * unless their name says otherwise. Medians and ratios are worked out from `runs` by whoever shows them (see median.ts).
 */
export type BenchReport = LinkReport | MoveReport | ScaleReport | ConcurrentReport;

/** Where and how a benchmark ran. */
export interface BenchSetting {
  readonly startedAt: string;
  /** The command line that repeats it. */
  readonly command: string;
  readonly host: HostFacts;
  readonly link: LinkFacts;
  /** The options of the benchmark, defaults included. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

export interface HostFacts {
  readonly processor: string;
  readonly processors: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** Of tmpfs, as in /sys/kernel/mm/transparent_hugepage/shmem_enabled: the one in brackets. */
  readonly hugePages: string;
  /** By program: node, vmferry, qemu, iperf3; those that were used. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface LinkFacts {
  /** 'loopback'; 'lab': namespaces joined by veth; 'agents': two agents that somebody else runs. */
  readonly kind: 'loopback' | 'lab' | 'agents';
  /** URLs of both agents. */
  readonly agents: readonly string[];
  /** What it is capped at; null if at nothing, or at one rate after the other (then each series tells its own). */
  readonly bytesPerSecond: number | null;
}

/** `bench link`: bytes a second from memory to memory. */
export interface LinkReport extends BenchSetting {
  readonly bench: 'link';
  readonly series: readonly LinkSeries[];
}

export interface LinkSeries {
  /** 'vmferry, embedded', 'vmferry, qemu' (memory as guests of that kind have it), 'iperf3, default block', 'iperf3, 1 MiB block'. */
  readonly name: string;
  /** Cap of the link; null if none. bytes/s */
  readonly linkBytesPerSecond: number | null;
  /** Bytes a second of each run, in their order: run n of all series was made in one turn. */
  readonly runs: readonly number[];
}

/** `bench migrate` and `bench compare`: moves of guests under a workload, one after the other. */
export interface MoveReport extends BenchSetting {
  readonly bench: 'migrate' | 'compare';
  readonly series: readonly MoveSeries[];
}

/** `bench scale`: moves of idle guests of different sizes, and what it costs to ask the write-log of each. */
export interface ScaleReport extends BenchSetting {
  readonly bench: 'scale';
  readonly series: readonly MoveSeries[];
  readonly harvests: readonly HarvestSeries[];
}

export interface HarvestSeries {
  /** 'qemu 1 GiB', as in `series`. */
  readonly guest: string;
  readonly memoryBytes: number;
  readonly populatedBytes: number;
  /** Kind of the write-log: 'userfaultfd', 'soft-dirty', 'hash'. */
  readonly writeLog: string;
  /** Harvests while the guest rests. ms */
  readonly runs: readonly number[];
}

/** One guest under one workload on one link, moved again and again by one mover. */
export interface MoveSeries {
  /** 'vmferry', 'QEMU precopy', 'QEMU multifd 4', ... */
  readonly mover: string;
  /** 'qemu 1 GiB', 'embedded 256 MiB', ... */
  readonly guest: string;
  readonly memoryBytes: number;
  /** 'idle', 'rewrite 8 MiB', 'random xor', ... */
  readonly workload: string;
  /** Cap of the link; null if none. bytes/s */
  readonly linkBytesPerSecond: number | null;
  /** Run n of all series of one guest, workload and link was made in one turn. */
  readonly runs: readonly Move[];
}

export interface Move {
  /** From the request until the guest runs on the target. */
  readonly totalMs: number;
  /** Of that, from when the target was ready for pages. */
  readonly copyMs: number;
  /** From QEMU's STOP to its RESUME, or what the embedded machine tells of the same. */
  readonly downtimeMs: number;
  /** Parts of the downtime, by name and in their order; empty where they are not known. */
  readonly downtimeParts: Readonly<Record<string, number>>;
  /** From the request to STOP: where the switchover is on the time line. */
  readonly stoppedAfterMs: number;
  readonly populatedBytes: number;
  readonly wireBytes: number;
  /** How often all that was dirty was sent; the rounds themselves where they are known. */
  readonly roundCount: number;
  readonly rounds: readonly RoundResult[];
  /** 'below-threshold', 'stalled', ...; empty where that is not known. */
  readonly convergence: string;
  /** Processor time that the move took, of all that was busy with it (agents; QEMU's own migration runs in the QEMUs, with the guest). ms */
  readonly cpuMs: { readonly source: number; readonly target: number };
  /** The guest's own count of work done, a second of its clock; null for a guest that does not tell. */
  readonly workPerSecond: { readonly before: number; readonly during: number; readonly after: number } | null;
  /** False if the guest crashed on the target: it stopped working. QEMU's own migration does that to busy guests under TCG. */
  readonly intact: boolean;
}

/** `bench concurrent`: k guests that keep writing, moved one after the other, and all at once with the lock disabled. */
export interface ConcurrentReport extends BenchSetting {
  readonly bench: 'concurrent';
  readonly series: readonly ConcurrentSeries[];
}

export interface ConcurrentSeries {
  readonly guests: number;
  readonly workload: string;
  readonly order: 'sequential' | 'at once';
  readonly runs: readonly ConcurrentRun[];
}

export interface ConcurrentRun {
  /** From the first request until the last guest runs on the target. */
  readonly totalMs: number;
  readonly wireBytes: number;
  readonly downtimesMs: readonly number[];
  /** Migrations whose rounds ended by a limit instead of below the threshold. */
  readonly convergenceFailures: number;
}
