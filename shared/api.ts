import { z } from 'zod';
import type { ErrorBody } from './errors.js';
import { GuestDefinitionSchema, MAX_IMAGE_BYTES, type GuestDefinition } from './guest-definition.js';
import { NameSchema } from './names.js';
import { PAGE_SIZE } from './page.js';
import {
  LinkTestMemorySchema,
  MAX_LINK_TEST_BYTES,
  PrioritySchema,
  VerifyModeSchema,
  type LinkTestMemory,
  type PreflightFinding,
  type Transport,
  type VerifyMode,
} from './protocol/messages.js';

/** The HTTP API, version 1: what requests must look like and what answers are. Paths are under /v1. */

export const DefineGuestSchema = z.strictObject({
  definition: GuestDefinitionSchema,
  /** The ELF file, base64, for program 'image'. */
  image: z
    .base64()
    .max(Math.ceil((MAX_IMAGE_BYTES * 4) / 3) + 4)
    .optional(),
});

/** What to do when the rounds reach a limit (stall, rounds, time) with the residual above the threshold. */
export const OnLimitSchema = z.enum(['switch-over', 'cancel']);
export type OnLimit = z.output<typeof OnLimitSchema>;

/** Least limit of a bandwidth: a page takes half a second, and who waits for less takes the peer for gone. bytes/s */
const MIN_BANDWIDTH = 8000;

/** bytes/s; 0: no limit. */
export const BandwidthSchema = z
  .number()
  .int()
  .min(0)
  .max(1e12)
  .refine((rate) => rate === 0 || rate >= MIN_BANDWIDTH, {
    error: `it must be 0 (no limit) or at least ${MIN_BANDWIDTH} bytes/s (64kbit)`,
  });

/** Options of one migration; what is not given is taken from the agent's configuration. */
export const MigrationOptionsSchema = z.strictObject({
  /** Aim for a switchover no longer than this. ms */
  maxDowntimeMs: z.number().min(0).max(3_600_000).default(30),
  /** Upper bound of what pages put on the link; 0: none. bytes/s */
  bandwidthBytesPerSecond: BandwidthSchema.default(0),
  verify: VerifyModeSchema.default('off'),
  onLimit: OnLimitSchema.default('switch-over'),
  /** Rounds after which onLimit applies. */
  maxRounds: z.number().int().min(1).max(10_000).default(100),
  /** Time of copying after which onLimit applies. ms */
  maxTotalMs: z.number().min(1).max(86_400_000).default(600_000),
  /** Rounds without a new minimum of the residual that count as a stall, for which onLimit applies. */
  stallRounds: z.number().int().min(1).max(1000).default(5),
  /** Page streams; 'auto': as many as the first round shows to pay. */
  streams: z.union([z.literal('auto'), z.number().int().min(1).max(16)]).default('auto'),
});
export type MigrationOptions = z.output<typeof MigrationOptionsSchema>;

const option = MigrationOptionsSchema.shape;

/** The options that a request gives. No default stands in for one that it does not: the agent's configuration does. */
export const GivenOptionsSchema = z.strictObject({
  maxDowntimeMs: option.maxDowntimeMs.removeDefault().exactOptional(),
  bandwidthBytesPerSecond: option.bandwidthBytesPerSecond.removeDefault().exactOptional(),
  verify: option.verify.removeDefault().exactOptional(),
  onLimit: option.onLimit.removeDefault().exactOptional(),
  maxRounds: option.maxRounds.removeDefault().exactOptional(),
  maxTotalMs: option.maxTotalMs.removeDefault().exactOptional(),
  stallRounds: option.stallRounds.removeDefault().exactOptional(),
  streams: option.streams.removeDefault().exactOptional(),
});

export const StartMigrationSchema = z.strictObject({
  vm: NameSchema,
  to: NameSchema,
  options: GivenOptionsSchema.default({}),
  /** Each step (0 if not given) goes before what was asked for up to an hour earlier; below zero, after what comes up to an hour later. */
  priority: PrioritySchema.exactOptional(),
  /** False: where one of the two nodes is not free the migration fails at once, with pair-busy. True if not given. */
  wait: z.boolean().exactOptional(),
});
export type MigrationRequest = z.output<typeof StartMigrationSchema>;

/** `vmferry bench link`: pages from memory of this node to memory of another, again and again. */
export const LinkTestSchema = z.strictObject({
  to: NameSchema,
  /** As guests of that kind have it. */
  memory: LinkTestMemorySchema.default('embedded'),
  /** Whole pages. */
  bytes: z
    .number()
    .int()
    .min(PAGE_SIZE)
    .max(MAX_LINK_TEST_BYTES)
    .multipleOf(PAGE_SIZE)
    .default(256 * 2 ** 20),
  /** The first makes memory and code warm, and shows how many streams pay. */
  rounds: z.number().int().min(2).max(100).default(4),
  bandwidthBytesPerSecond: option.bandwidthBytesPerSecond,
  streams: option.streams,
});
export type LinkTestRequest = z.output<typeof LinkTestSchema>;

export interface LinkTestResult {
  from: string;
  to: string;
  memory: LinkTestMemory;
  bytes: number;
  /** Guest memory a second in each round, from the first byte until the target has applied all of it; the first is the cold one. */
  bytesPerSecond: number[];
  /** Put on the link in all rounds, framing included. */
  wireBytes: number;
  streams: StreamsReport;
}

/** What can be changed of a migration that waits or runs. */
export const ChangeMigrationSchema = z.strictObject({
  bandwidthBytesPerSecond: option.bandwidthBytesPerSecond.removeDefault(),
});

export type GuestStatus =
  | 'stopped'
  | 'running'
  | 'paused'
  | 'finished'
  /** A migration towards this node is under way; not owned yet. */
  | 'incoming'
  /** Paused because the outcome of its migration is not known. */
  | 'unknown'
  /** Its machine can't be reached or ended, and may be running; 'failure' says why. */
  | 'stray';

export interface GuestInfo {
  name: string;
  kind: GuestDefinition['kind'];
  status: GuestStatus;
  memoryBytes: number;
  /** Id of the migration that it is part of now. */
  migration: string | null;
  /** Why it can't go on: its machine failed. Null while it is well. */
  failure: string | null;
  definition: GuestDefinition;
  /** How writes are tracked and why so; null while stopped. */
  writeLog: { kind: string; reason: string } | null;
  /** Bytes printed since it booted: the end of what console offers. */
  consoleBytes: number;
  /** Figures of the kind; embedded: retiredInstructions, exitCode, wallSeconds. */
  machine: Record<string, number | string | null>;
}

export interface RoundResult {
  /** 0: all that is populated. The last one is the switchover's, with the guest paused. */
  round: number;
  /** Pages sent, those that are all zero included. */
  pages: number;
  zeroPages: number;
  /** Guest memory copied: pages without the zero ones. */
  bytes: number;
  /** Put on the link, framing included. */
  wireBytes: number;
  ms: number;
  bytesPerSecond: number;
  /** Pages written by the guest during the round, per second; 0 for the switchover's round. */
  dirtyPagesPerSecond: number;
  /** Pages left to copy: what the harvest after the round found, and what a time limit kept it from sending. */
  residualPages: number;
}

export type Outcome = 'completed' | 'failed' | 'cancelled' | 'unknown';

/** What `vmferry migrate --json` prints. */
export interface MigrationResult {
  id: string;
  vm: string;
  from: string;
  to: string;
  outcome: Outcome;
  error: ErrorBody | null;
  /** From the grant of the pair lock to the end. */
  totalMs: number;
  /** Time spent in the queue before. */
  queuedMs: number;
  /** From the pause on the source to the resume on the target; 0 if it was not reached. */
  downtimeMs: number;
  downtime: {
    pauseMs: number;
    residualMs: number;
    stateMs: number;
    /** Comparing all memory before the commit; 0 unless verified strictly. */
    verifyMs: number;
    loadMs: number;
    /** The rest: the records of the commit on both sides, the round trips, the resume. */
    resumeMs: number;
  };
  /**
   * When the guest stood still and when it ran again, in Unix ms, each by its own host's clock: the true downtime where both
   * clocks are one. Null if it was not reached.
   */
  switchover: { stoppedAt: number; resumedAt: number | null } | null;
  /** Why the rounds ended, and the largest residual that the downtime limit allowed. Null if they did not. */
  convergence: { reason: ConvergenceReason; action: 'switch-over' | 'cancel'; thresholdBytes: number } | null;
  rounds: RoundResult[];
  ramBytes: number;
  populatedBytes: number;
  wireBytes: number;
  /** How writes were tracked, and why so. */
  writeLog: string;
  writeLogReason: string;
  /** How the pages travelled. Null if it did not come to that. */
  streams: StreamsReport | null;
  verify: { mode: VerifyMode; pagesChecked: number; mismatches: number };
}

/** A migration that has ended, in short. */
export interface HistoryEntry extends Pick<
  MigrationResult,
  'id' | 'vm' | 'from' | 'to' | 'outcome' | 'error' | 'totalMs' | 'queuedMs' | 'downtimeMs' | 'wireBytes'
> {
  requestedAt: string;
  endedAt: string;
  /** How many there were. */
  rounds: number;
}

export interface StreamsReport {
  transport: Transport;
  /** Streams that were open, and those that pages were dealt out to after the first round. */
  open: number;
  used: number;
  /** Why so many: one line for the operator. */
  reason: string;
  /** What was tried in round 0. */
  tried: { streams: number; bytesPerSecond: number }[];
  /** Why pages went over WebSocket though both agents can do better, and the remedy. */
  finding?: PreflightFinding;
}

export type ConvergenceReason = 'below-threshold' | 'stalled' | 'round-limit' | 'time-limit';

export type MigrationPhase =
  | 'queued'
  | 'preparing'
  | 'copying'
  | 'switching-over'
  | 'verifying'
  | 'committing'
  /** The commit was sent and the connection lost: the target is asked for the outcome. */
  | 'asking'
  /** The guest runs on the target; the source compares (--verify after) and clears its copy away. */
  | 'completing'
  /** The guest goes on here. */
  | 'aborting'
  | 'ended';

export interface MigrationInfo {
  id: string;
  vm: string;
  from: string;
  to: string;
  role: 'source' | 'target';
  phase: MigrationPhase;
  requestedAt: string;
  /** Most that its pages may put on the link, 0: no limit. Null on the target, which does not know. bytes/s */
  bandwidthBytesPerSecond: number | null;
  /** Round that runs now, and how far it is; null outside of copying. */
  progress: { round: number; pagesDone: number; pagesTotal: number; bytesPerSecond: number } | null;
  queue: QueueEntry | null;
  /** Set once phase is 'ended'. On the target: null. */
  result: MigrationResult | null;
}

export interface QueueEntry {
  migration: string;
  vm: string;
  from: string;
  to: string;
  requestedAt: string;
  /** Head start in hours; see StartMigrationSchema. */
  priority: number;
  /** Place in the queue of this node: 0 holds the lock, 1 is next. */
  position: number;
  state: 'running' | 'waiting';
  /** Nodes that it waits for, with the migration that holds each. */
  waitsFor: { node: string; holder: string | null }[];
  /** Migrations that came later and went first, and the most that may. */
  overtaken: number;
  overtakeLimit: number;
}

/** What happens to a migration, in order; the stream ends after 'ended'. */
export type MigrationEvent = { seq: number; at: string; migration: string } & (
  | { event: 'phase'; phase: MigrationPhase }
  | { event: 'queue'; queue: QueueEntry }
  | { event: 'progress'; round: number; pagesDone: number; pagesTotal: number; bytesPerSecond: number }
  | { event: 'round'; round: RoundResult; thresholdBytes: number }
  | { event: 'ended'; result: MigrationResult }
);

export interface NodeInfo {
  node: string;
  version: string;
  protocol: { min: number; max: number };
  guests: number;
  memoryUsedBytes: number;
  memoryLimitBytes: number;
  peers: { node: string; url: string }[];
  process: ProcessFigures;
  /** Whether it takes no VMs, by the word of its operator. */
  drained: boolean;
}

/** What the agent's own process takes, guests that live in it included. */
export interface ProcessFigures {
  /** Processor time since it started, of all its threads, in user space and in the kernel. ms */
  cpuMs: number;
  /** Resident memory; what is mapped of guests' memory counts. bytes */
  residentBytes: number;
}

export interface StatusReport {
  node: NodeInfo;
  guests: GuestInfo[];
  /** Running ones and those that ended lately, the latest first. */
  migrations: MigrationInfo[];
}

/** What one node says of itself, or why it says nothing. */
export interface ClusterNode {
  node: string;
  url: string;
  status: StatusReport | null;
  error: ErrorBody | null;
}

/** A migration that runs or waits somewhere, as its two nodes see it. */
export interface ClusterQueueEntry extends Omit<QueueEntry, 'position'> {
  /** Its place in the queue of each of its nodes that answered. */
  positions: { node: string; position: number }[];
  /** When it may begin, by what runs and waits before it: an estimate. Null where not enough is known, or it runs. */
  expectedStart: string | null;
}

/** The cluster as one node sees it. */
export interface ClusterReport {
  /** The node that was asked. */
  node: string;
  at: string;
  /** In the order of their names. */
  nodes: ClusterNode[];
  /** Those that run first, then in the order of their turns. */
  queue: ClusterQueueEntry[];
}

/** Whether guests may come to the node. */
export const DrainSchema = z.strictObject({ drained: z.boolean() });

export interface PreflightReport {
  vm: string;
  from: string;
  to: string;
  /** True if no finding is a refusal. */
  ok: boolean;
  findings: PreflightFinding[];
}

/** What `vmferry doctor --json` prints of one node. */
export interface DoctorReport {
  node: string;
  /** True if no finding is a refusal. */
  ok: boolean;
  findings: PreflightFinding[];
}

/** Who the agent takes the caller for, and what he may do: look, or look and act. */
export interface AccessReport {
  role: 'read' | 'operate';
  /** Name of the token; null where none is needed. */
  holder: string | null;
}

/** What /healthz answers: that it does says all. */
export interface HealthReport {
  status: 'ok';
}

/** What /readyz answers; status 503 where something fails. */
export interface ReadinessReport {
  ready: boolean;
  /** What is in the way: a directory can't be written or read, or the agent is ending. The agent's log has the reasons. */
  failing: ('journal' | 'state-directory' | 'shutting-down')[];
}

/** Takes over a running QEMU that somebody else started. */
export const AdoptGuestSchema = z.strictObject({
  /** Absolute path of its QMP socket on the agent's host. */
  qmp: z.string().min(1).max(107),
});

/** Who owns a VM whose migration's outcome is not known: `owner` is a node, one of the two. */
export const ResolveSchema = z.strictObject({
  owner: NameSchema,
  /** Without the target's word, which can't be had. */
  force: z.boolean().default(false),
});
export type ResolveRequest = z.output<typeof ResolveSchema>;

/** What `vmferry vm resolve` prints of a VM. */
export interface OutcomeReport {
  vm: string;
  /** Null where nothing is to be resolved. */
  open: {
    migration: string;
    from: string;
    to: string;
    /** When the commit was sent, ISO 8601. */
    since: string;
    /** Whether the operator has taken it back already, and the target has not been heard of since, or had committed. */
    takenBack: boolean;
    /** What the target said when it was asked just now. */
    known: string;
    choices: { owner: string; risk: string; command: string }[];
  } | null;
}

export interface Resolution {
  vm: string;
  owner: string;
  /** The VM here; null where it is the target's. */
  guest: GuestInfo | null;
}

export interface ConsoleChunk {
  /** Position of the first byte of `text` in all that the guest ever printed. */
  position: number;
  /** Position after its last byte: where to go on. */
  end: number;
  /**
   * The bytes as printed, one character (code 0 to 255, 'latin1') for each, so that nothing is lost where a chunk
   * ends inside of a UTF-8 sequence: end - position characters.
   */
  text: string;
}

/** How a followed console ends. */
export interface ConsoleEnd {
  reason: 'stopped' | 'finished' | 'moved';
  /** Where the guest went, if it moved; its console goes on there at the same position. */
  to: { node: string; url: string } | null;
}

export interface ErrorAnswer {
  error: ErrorBody;
  /** Findings, where preflight refused. */
  findings?: PreflightFinding[];
}

/** Exit codes of the command line, a contract with scripts. */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, cancelled: 4, unknown: 5 } as const;
