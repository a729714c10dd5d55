import { z } from 'zod';
import type { ErrorBody } from './errors.js';
import { GuestDefinitionSchema, GuestKindSchema, MAX_IMAGE_BYTES } from './guest-definition.js';
import { MigrationIdSchema, NameSchema } from './names.js';
import { PAGE_SIZE } from './page.js';
import {
  ErrorCodeSchema,
  LinkTestMemorySchema,
  MAX_LINK_TEST_BYTES,
  PreflightFindingSchema,
  PrioritySchema,
  TransportSchema,
  VerifyModeSchema,
} from './protocol/messages.js';

/**
 * The HTTP API, version 1: what requests must look like and what answers are. Paths are under /v1. Requests are checked against these
 * schemas, the types of both come from them, and so does the OpenAPI document (agent/api/openapi/), which has their descriptions.
 */

export const DefineGuestSchema = z
  .strictObject({
    definition: GuestDefinitionSchema,
    image: z
      .base64()
      .max(Math.ceil((MAX_IMAGE_BYTES * 4) / 3) + 4)
      .describe("The ELF file, base64, for program 'image'.")
      .optional(),
  })
  .meta({ id: 'DefineGuest' });

export const OnLimitSchema = z
  .enum(['switch-over', 'cancel'])
  .describe(
    'What to do when the rounds reach a limit (stall, rounds, time) with the residual above the threshold.',
  );
export type OnLimit = z.output<typeof OnLimitSchema>;

/** Least limit of a bandwidth: a page takes half a second, and who waits for less takes the peer for gone. bytes/s */
const MIN_BANDWIDTH = 8000;

export const BandwidthSchema = z
  .number()
  .int()
  .min(0)
  .max(1e12)
  .refine((rate) => rate === 0 || rate >= MIN_BANDWIDTH, {
    error: `it must be 0 (no limit) or at least ${MIN_BANDWIDTH} bytes/s (64kbit)`,
  })
  .describe(
    `Upper bound of what pages put on the link; 0: no limit, else at least ${MIN_BANDWIDTH}. bytes/s`,
  );

/** Options of one migration; what is not given is taken from the agent's configuration. */
export const MigrationOptionsSchema = z.strictObject({
  maxDowntimeMs: z
    .number()
    .min(0)
    .max(3_600_000)
    .describe('Aim for a switchover no longer than this. ms')
    .default(30),
  bandwidthBytesPerSecond: BandwidthSchema.default(0),
  verify: VerifyModeSchema.default('off'),
  onLimit: OnLimitSchema.default('switch-over'),
  maxRounds: z.number().int().min(1).max(10_000).describe('Rounds after which onLimit applies.').default(100),
  maxTotalMs: z
    .number()
    .min(1)
    .max(86_400_000)
    .describe('Time of copying after which onLimit applies. ms')
    .default(600_000),
  stallRounds: z
    .number()
    .int()
    .min(1)
    .max(1000)
    .describe(
      'Rounds without a new minimum of the residual that count as a stall, for which onLimit applies.',
    )
    .default(5),
  streams: z
    .union([z.literal('auto'), z.number().int().min(1).max(16)])
    .describe("Page streams; 'auto': as many as the first round shows to pay.")
    .default('auto'),
});
export type MigrationOptions = z.output<typeof MigrationOptionsSchema>;

const option = MigrationOptionsSchema.shape;

/** The options that a request gives. No default stands in for one that it does not: the agent's configuration does. */
export const GivenOptionsSchema = z
  .strictObject({
    maxDowntimeMs: option.maxDowntimeMs.removeDefault().exactOptional(),
    bandwidthBytesPerSecond: option.bandwidthBytesPerSecond.removeDefault().exactOptional(),
    verify: option.verify.removeDefault().exactOptional(),
    onLimit: option.onLimit.removeDefault().exactOptional(),
    maxRounds: option.maxRounds.removeDefault().exactOptional(),
    maxTotalMs: option.maxTotalMs.removeDefault().exactOptional(),
    stallRounds: option.stallRounds.removeDefault().exactOptional(),
    streams: option.streams.removeDefault().exactOptional(),
  })
  .meta({
    id: 'MigrationOptions',
    description: "What is not given is taken from the agent's configuration.",
  });

export const StartMigrationSchema = z
  .strictObject({
    vm: NameSchema,
    to: NameSchema,
    options: GivenOptionsSchema.default({}),
    priority: PrioritySchema.exactOptional().describe(
      'Each step (0 if not given) goes before what was asked for up to an hour earlier; below zero, after what comes up to an hour later.',
    ),
    wait: z
      .boolean()
      .exactOptional()
      .describe(
        'False: where one of the two nodes is not free the migration fails at once, with pair-busy. True if not given.',
      ),
  })
  .meta({ id: 'StartMigration', description: 'A migration that is asked for, at the agent of its source.' });
export type MigrationRequest = z.output<typeof StartMigrationSchema>;

/** `vmferry bench link`: pages from memory of this node to memory of another, again and again. */
export const LinkTestSchema = z
  .strictObject({
    to: NameSchema,
    memory: LinkTestMemorySchema.describe('As guests of that kind have it.').default('embedded'),
    bytes: z
      .number()
      .int()
      .min(PAGE_SIZE)
      .max(MAX_LINK_TEST_BYTES)
      .multipleOf(PAGE_SIZE)
      .describe('Whole pages.')
      .default(256 * 2 ** 20),
    rounds: z
      .number()
      .int()
      .min(2)
      .max(100)
      .describe('The first makes memory and code warm, and shows how many streams pay.')
      .default(4),
    bandwidthBytesPerSecond: option.bandwidthBytesPerSecond,
    streams: option.streams,
    wait: z
      .boolean()
      .exactOptional()
      .describe(
        'False: where one of the two nodes is not free it fails at once, with pair-busy. True if not given.',
      ),
    maxMs: z
      .int()
      .min(1)
      .max(3_600_000)
      .exactOptional()
      .describe(
        'Rounds that have not begun by then are left out, and one that has not ended is given up, with timeout. ms',
      ),
  })
  .meta({
    id: 'LinkTest',
    description: 'Pages from memory of this node to memory of another, again and again.',
  });
export type LinkTestRequest = z.output<typeof LinkTestSchema>;

/** Of the answers. All that follows describes what agents say: what they are asked is checked above. */
const Count = z.int().min(0);
const Milliseconds = z.number().min(0);
const Rate = z.number().min(0);
const Timestamp = z.iso.datetime();
const NodeAddress = z.object({ node: NameSchema, url: z.string() });

export const ErrorBodySchema: z.ZodType<ErrorBody> = z
  .object({
    code: ErrorCodeSchema,
    message: z.string().describe('The thing, the reason and, where there is one, the remedy.'),
    retryable: z
      .boolean()
      .describe('The same request can succeed later with nothing changed by the operator.'),
  })
  .meta({ id: 'Error', description: 'A failure.' });

export const StreamsReportSchema = z
  .object({
    transport: TransportSchema,
    open: Count.describe('Streams that were open.'),
    used: Count.describe('Streams that pages were dealt out to after the first round.'),
    reason: z.string().describe('Why so many: one line for the operator.'),
    tried: z.array(z.object({ streams: Count, bytesPerSecond: Rate })).describe('What was tried in round 0.'),
    finding: PreflightFindingSchema.exactOptional().describe(
      'Why pages went over WebSocket though both agents can do better, and the remedy.',
    ),
  })
  .meta({ id: 'StreamsReport', description: 'How pages travelled.' });
export type StreamsReport = z.output<typeof StreamsReportSchema>;

export const LinkTestResultSchema = z
  .object({
    from: NameSchema,
    to: NameSchema,
    memory: LinkTestMemorySchema,
    bytes: Count,
    bytesPerSecond: z
      .array(Rate)
      .describe(
        'Guest memory a second in each round, from the first byte until the target has applied all of it; the first is the cold one.',
      ),
    wireBytes: Count.describe('Put on the link in all rounds, framing included.'),
    streams: StreamsReportSchema,
  })
  .meta({ id: 'LinkTestResult' });
export type LinkTestResult = z.output<typeof LinkTestResultSchema>;

/** What can be changed of a migration that waits or runs. */
export const ChangeMigrationSchema = z
  .strictObject({ bandwidthBytesPerSecond: option.bandwidthBytesPerSecond.removeDefault() })
  .meta({ id: 'ChangeMigration', description: 'What can be changed of a migration that waits or runs.' });

export const GuestStatusSchema = z
  .enum(['stopped', 'running', 'paused', 'finished', 'incoming', 'unknown', 'stray'])
  .describe(
    "'incoming': a migration towards this node is under way; not owned yet. 'unknown': paused because the outcome of its migration " +
      "is not known. 'stray': its machine can't be reached or ended, and may be running; 'failure' says why.",
  );
export type GuestStatus = z.output<typeof GuestStatusSchema>;

export const GuestInfoSchema = z
  .object({
    name: NameSchema,
    kind: GuestKindSchema,
    status: GuestStatusSchema,
    memoryBytes: Count,
    migration: MigrationIdSchema.nullable().describe('Id of the migration that it is part of now.'),
    failure: z.string().nullable().describe("Why it can't go on: its machine failed. Null while it is well."),
    definition: GuestDefinitionSchema,
    writeLog: z
      .object({ kind: z.string(), reason: z.string() })
      .nullable()
      .describe('How writes are tracked and why so; null while stopped.'),
    consoleBytes: Count.describe('Bytes printed since it booted: the end of what console offers.'),
    machine: z
      .record(z.string(), z.union([z.number(), z.string()]).nullable())
      .describe('Figures of the kind; embedded: retiredInstructions, exitCode, wallSeconds.'),
  })
  .meta({ id: 'Guest', description: 'A VM of the node.' });
export type GuestInfo = z.output<typeof GuestInfoSchema>;

export const RoundResultSchema = z
  .object({
    round: Count.describe(
      "0: all that is populated. The last one is the switchover's, with the guest paused.",
    ),
    pages: Count.describe('Pages sent, those that are all zero included.'),
    zeroPages: Count,
    bytes: Count.describe('Guest memory copied: pages without the zero ones.'),
    wireBytes: Count.describe('Put on the link, framing included.'),
    ms: Milliseconds,
    bytesPerSecond: Rate,
    dirtyPagesPerSecond: Rate.describe(
      "Pages written by the guest during the round, per second; 0 for the switchover's round.",
    ),
    residualPages: Count.describe(
      'Pages left to copy: what the harvest after the round found, and what a time limit kept it from sending.',
    ),
  })
  .meta({ id: 'Round', description: 'One harvest and the copy of what it returned.' });
export type RoundResult = z.output<typeof RoundResultSchema>;

export const OutcomeSchema = z.enum(['completed', 'failed', 'cancelled', 'unknown']);
export type Outcome = z.output<typeof OutcomeSchema>;

export const ConvergenceReasonSchema = z.enum(['below-threshold', 'stalled', 'round-limit', 'time-limit']);
export type ConvergenceReason = z.output<typeof ConvergenceReasonSchema>;

export const MigrationResultSchema = z
  .object({
    id: MigrationIdSchema,
    vm: NameSchema,
    from: NameSchema,
    to: NameSchema,
    outcome: OutcomeSchema,
    error: ErrorBodySchema.nullable(),
    totalMs: Milliseconds.describe('From the grant of the pair lock to the end.'),
    queuedMs: Milliseconds.describe('Time spent in the queue before.'),
    downtimeMs: Milliseconds.describe(
      'From the pause on the source to the resume on the target; 0 if it was not reached.',
    ),
    downtime: z.object({
      pauseMs: Milliseconds,
      residualMs: Milliseconds,
      stateMs: Milliseconds,
      verifyMs: Milliseconds.describe('Comparing all memory before the commit; 0 unless verified strictly.'),
      loadMs: Milliseconds,
      resumeMs: Milliseconds.describe(
        'The rest: the records of the commit on both sides, the round trips, the resume.',
      ),
    }),
    switchover: z
      .object({ stoppedAt: z.number(), resumedAt: z.number().nullable() })
      .nullable()
      .describe(
        "When the guest stood still and when it ran again, in Unix ms, each by its own host's clock: the true downtime where both " +
          'clocks are one. Null if it was not reached.',
      ),
    convergence: z
      .object({
        reason: ConvergenceReasonSchema,
        action: OnLimitSchema,
        thresholdBytes: z.number().min(0),
      })
      .nullable()
      .describe(
        'Why the rounds ended, and the largest residual that the downtime limit allowed. Null if they did not.',
      ),
    rounds: z.array(RoundResultSchema),
    ramBytes: Count,
    populatedBytes: Count,
    wireBytes: Count,
    writeLog: z.string().describe('How writes were tracked.'),
    writeLogReason: z.string().describe('Why so.'),
    streams: StreamsReportSchema.nullable().describe('Null if it did not come to that.'),
    verify: z.object({ mode: VerifyModeSchema, pagesChecked: Count, mismatches: Count }),
  })
  .meta({
    id: 'MigrationResult',
    description: 'What became of a migration: what `vmferry migrate --json` prints.',
  });
export type MigrationResult = z.output<typeof MigrationResultSchema>;

export const HistoryEntrySchema = MigrationResultSchema.pick({
  id: true,
  vm: true,
  from: true,
  to: true,
  outcome: true,
  error: true,
  totalMs: true,
  queuedMs: true,
  downtimeMs: true,
  wireBytes: true,
})
  .extend({ requestedAt: Timestamp, endedAt: Timestamp, rounds: Count.describe('How many there were.') })
  .meta({ id: 'HistoryEntry', description: 'A migration that has ended, in short.' });
export type HistoryEntry = z.output<typeof HistoryEntrySchema>;

export const MigrationPhaseSchema = z
  .enum([
    'queued',
    'preparing',
    'copying',
    'switching-over',
    'verifying',
    'committing',
    'asking',
    'completing',
    'aborting',
    'ended',
  ])
  .describe(
    "'asking': the commit was sent and the connection lost: the target is asked for the outcome. 'completing': the guest runs on the " +
      "target; the source compares (--verify after) and clears its copy away. 'aborting': the guest goes on at the source.",
  );
export type MigrationPhase = z.output<typeof MigrationPhaseSchema>;

export const QueueEntrySchema = z
  .object({
    migration: MigrationIdSchema,
    vm: NameSchema,
    from: NameSchema,
    to: NameSchema,
    requestedAt: Timestamp,
    priority: PrioritySchema.describe('Head start in hours.'),
    position: Count.describe('Place in the queue of this node: 0 holds the lock, 1 is next.'),
    state: z.enum(['running', 'waiting']),
    waitsFor: z
      .array(z.object({ node: NameSchema, holder: z.string().nullable() }))
      .describe('Nodes that it waits for, with the migration that holds each.'),
    overtaken: Count.describe('Migrations that came later and went first.'),
    overtakeLimit: Count.describe('The most that may.'),
  })
  .meta({ id: 'QueueEntry', description: 'A migration that holds the node or waits for it.' });
export type QueueEntry = z.output<typeof QueueEntrySchema>;

/** How far a round is. */
const progress = { round: Count, pagesDone: Count, pagesTotal: Count, bytesPerSecond: Rate };

export const CopyingReportSchema = z
  .object({
    rounds: z.array(RoundResultSchema).describe('Those that are copied; of many the latest alone.'),
    thresholdBytes: z
      .number()
      .min(0)
      .nullable()
      .describe(
        'Largest residual that the downtime limit allows, by the rates so far; null before the first round is copied.',
      ),
    elapsedMs: Milliseconds.describe('Since the first page.'),
    limits: z.object({
      maxRounds: option.maxRounds.removeDefault(),
      maxTotalMs: option.maxTotalMs.removeDefault(),
      stallRounds: option.stallRounds.removeDefault(),
      onLimit: OnLimitSchema,
    }),
  })
  .meta({ id: 'Copying', description: 'Rounds of a migration that runs, and what ends them.' });
/** With it `forecast` (migration-forecast.ts) can tell how the migration goes on. */
export type CopyingReport = z.output<typeof CopyingReportSchema>;

export const MigrationInfoSchema = z
  .object({
    id: MigrationIdSchema,
    vm: NameSchema,
    from: NameSchema,
    to: NameSchema,
    role: z.enum(['source', 'target']),
    phase: MigrationPhaseSchema,
    requestedAt: Timestamp,
    bandwidthBytesPerSecond: Count.nullable().describe(
      'Most that its pages may put on the link, 0: no limit. Null on the target, which does not know. bytes/s',
    ),
    progress: z
      .object(progress)
      .nullable()
      .describe('Round that runs now, and how far it is; null outside of copying.'),
    copying: CopyingReportSchema.nullable().describe(
      'How its rounds go, from the first page on; null before, on the target, and once there is the result.',
    ),
    queue: QueueEntrySchema.nullable(),
    result: MigrationResultSchema.nullable().describe("Set once phase is 'ended'. On the target: null."),
  })
  .meta({ id: 'Migration', description: 'A migration from or to the node.' });
export type MigrationInfo = z.output<typeof MigrationInfoSchema>;

const eventHeader = { seq: Count, at: Timestamp, migration: MigrationIdSchema };

export const MigrationEventSchema = z
  .discriminatedUnion('event', [
    z.object({ ...eventHeader, event: z.literal('phase'), phase: MigrationPhaseSchema }),
    z.object({ ...eventHeader, event: z.literal('queue'), queue: QueueEntrySchema }),
    z.object({ ...eventHeader, event: z.literal('progress'), ...progress }),
    z.object({
      ...eventHeader,
      event: z.literal('round'),
      round: RoundResultSchema,
      thresholdBytes: z.number().min(0),
    }),
    z.object({ ...eventHeader, event: z.literal('ended'), result: MigrationResultSchema }),
  ])
  .meta({
    id: 'MigrationEvent',
    description: "What happens to a migration, in order; the stream ends after 'ended'.",
  });
export type MigrationEvent = z.output<typeof MigrationEventSchema>;

export const ProcessFiguresSchema = z
  .object({
    cpuMs: Milliseconds.describe(
      'Processor time since it started, of all its threads, in user space and in the kernel. ms',
    ),
    residentBytes: Count.describe("Resident memory; what is mapped of guests' memory counts. bytes"),
  })
  .describe("What the agent's own process takes, guests that live in it included.");
export type ProcessFigures = z.output<typeof ProcessFiguresSchema>;

export const NodeInfoSchema = z
  .object({
    node: NameSchema,
    version: z.string(),
    protocol: z.object({ min: Count, max: Count }),
    guests: Count,
    memoryUsedBytes: Count,
    memoryLimitBytes: Count,
    peers: z.array(NodeAddress),
    process: ProcessFiguresSchema,
    drained: z.boolean().describe('Whether it takes no VMs, by the word of its operator.'),
    at: Timestamp.describe("When it says so, by its host's clock."),
  })
  .meta({ id: 'Node', description: 'A node and its agent.' });
export type NodeInfo = z.output<typeof NodeInfoSchema>;

export const StatusReportSchema = z
  .object({
    node: NodeInfoSchema,
    guests: z.array(GuestInfoSchema),
    migrations: z
      .array(MigrationInfoSchema)
      .describe(
        'Running ones and those that ended lately, the latest first. Results are without their rounds: GET /v1/migrations/ID has these.',
      ),
  })
  .meta({ id: 'Status' });
export type StatusReport = z.output<typeof StatusReportSchema>;

const ClusterNodeSchema = z
  .object({
    node: NameSchema,
    url: z.string(),
    status: StatusReportSchema.nullable(),
    error: ErrorBodySchema.nullable(),
  })
  .meta({ id: 'ClusterNode', description: 'What one node says of itself, or why it says nothing.' });
export type ClusterNode = z.output<typeof ClusterNodeSchema>;

export const ClusterQueueEntrySchema = QueueEntrySchema.omit({ position: true })
  .extend({
    positions: z
      .array(z.object({ node: NameSchema, position: Count }))
      .describe('Its place in the queue of each of its nodes that answered.'),
    expectedStart: Timestamp.nullable().describe(
      'When it may begin, by what runs and waits before it: an estimate. Null where not enough is known, or it runs.',
    ),
  })
  .meta({
    id: 'ClusterQueueEntry',
    description: 'A migration that runs or waits somewhere, as its two nodes see it.',
  });
export type ClusterQueueEntry = z.output<typeof ClusterQueueEntrySchema>;

export const ClusterReportSchema = z
  .object({
    node: NameSchema.describe('The node that was asked.'),
    at: Timestamp,
    nodes: z.array(ClusterNodeSchema).describe('In the order of their names.'),
    queue: z
      .array(ClusterQueueEntrySchema)
      .describe('Those that run first, then in the order of their turns.'),
  })
  .meta({ id: 'Cluster', description: 'The cluster as one node sees it.' });
export type ClusterReport = z.output<typeof ClusterReportSchema>;

export const DrainSchema = z
  .strictObject({ drained: z.boolean() })
  .meta({ id: 'Drain', description: 'Whether guests may come to the node.' });

const Ok = z.boolean().describe('True if no finding is a refusal.');

export const PreflightReportSchema = z
  .object({
    vm: NameSchema,
    from: NameSchema,
    to: NameSchema,
    ok: Ok,
    findings: z.array(PreflightFindingSchema),
  })
  .meta({ id: 'Preflight', description: 'What speaks for and against a migration.' });
export type PreflightReport = z.output<typeof PreflightReportSchema>;

export const AccessReportSchema = z
  .object({
    role: z.enum(['read', 'operate']).describe('What he may do: look, or look and act.'),
    holder: z.string().nullable().describe('Name of the token; null where none is needed.'),
  })
  .meta({ id: 'Access', description: 'Who the agent takes the caller for.' });
export type AccessReport = z.output<typeof AccessReportSchema>;

export const HealthReportSchema = z
  .object({ status: z.literal('ok') })
  .meta({ id: 'Health', description: 'That there is an answer says all.' });
export type HealthReport = z.output<typeof HealthReportSchema>;

export const ReadinessReportSchema = z
  .object({
    ready: z.boolean(),
    failing: z
      .array(z.enum(['journal', 'state-directory', 'shutting-down']))
      .describe(
        "What is in the way: a directory can't be written or read, or the agent is ending. The agent's log has the reasons.",
      ),
    remarks: z
      .array(z.enum(['drained']))
      .describe(
        'What is no failure and should be seen: a drained node takes no VMs, and those that it has can leave.',
      ),
  })
  .meta({ id: 'Readiness', description: 'Whether the node can take part in migrations now.' });
export type ReadinessReport = z.output<typeof ReadinessReportSchema>;

/** Takes over a running QEMU that somebody else started. */
export const AdoptGuestSchema = z
  .strictObject({
    qmp: z.string().min(1).max(107).describe("Absolute path of its QMP socket on the agent's host."),
  })
  .meta({ id: 'AdoptGuest' });

/** Who owns a VM whose migration's outcome is not known. */
export const ResolveSchema = z
  .strictObject({
    owner: NameSchema.describe('A node, one of the two.'),
    force: z.boolean().describe("Without the target's word, which can't be had.").default(false),
  })
  .meta({ id: 'Resolve', description: "Who owns a VM whose migration's outcome is not known." });
export type ResolveRequest = z.output<typeof ResolveSchema>;

export const OutcomeReportSchema = z
  .object({
    vm: NameSchema,
    open: z
      .object({
        migration: MigrationIdSchema,
        from: NameSchema,
        to: NameSchema,
        since: Timestamp.describe('When the commit was sent.'),
        takenBack: z
          .boolean()
          .describe(
            'Whether the operator has taken it back already, and the target has not been heard of since, or had committed.',
          ),
        known: z.string().describe('What the target said when it was asked just now.'),
        choices: z.array(z.object({ owner: NameSchema, risk: z.string(), command: z.string() })),
      })
      .nullable()
      .describe('Null where nothing is to be resolved.'),
  })
  .meta({ id: 'OpenOutcome', description: 'What `vmferry vm resolve` prints of a VM.' });
export type OutcomeReport = z.output<typeof OutcomeReportSchema>;

export const ResolutionSchema = z
  .object({
    vm: NameSchema,
    owner: NameSchema,
    guest: GuestInfoSchema.nullable().describe("The VM here; null where it is the target's."),
  })
  .meta({ id: 'Resolution' });
export type Resolution = z.output<typeof ResolutionSchema>;

/** A count in a query or header; 15 digits stay below 2^53. */
export const CountTextSchema = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number of at most 15 digits')
  .transform(Number);

export const ConsoleQuerySchema = z.strictObject({
  position: CountTextSchema.describe('Bytes printed before the first one that is asked for.').default(0),
  follow: z.enum(['true', 'false']).default('false'),
});

/** The body's limit bounds its length. */
export const ConsoleInputSchema = z
  .strictObject({ data: z.base64().describe('The bytes, base64.') })
  .meta({ id: 'ConsoleInput' });

export const ConsoleChunkSchema = z
  .object({
    position: Count.describe('Position of the first byte of `text` in all that the guest ever printed.'),
    end: Count.describe('Position after its last byte: where to go on.'),
    text: z
      .string()
      .describe(
        "The bytes as printed, one character (code 0 to 255, 'latin1') for each, so that nothing is lost where a chunk ends inside of " +
          'a UTF-8 sequence: end - position characters.',
      ),
  })
  .meta({ id: 'ConsoleChunk' });
export type ConsoleChunk = z.output<typeof ConsoleChunkSchema>;

export const ConsoleEndSchema = z
  .object({
    reason: z.enum(['stopped', 'finished', 'moved']),
    to: NodeAddress.nullable().describe(
      'Where the guest went, if it moved; its console goes on there at the same position.',
    ),
  })
  .meta({ id: 'ConsoleEnd', description: 'How a followed console ends.' });
export type ConsoleEnd = z.output<typeof ConsoleEndSchema>;

export const ErrorAnswerSchema = z.object({ error: ErrorBodySchema }).meta({ id: 'ErrorAnswer' });
export type ErrorAnswer = z.output<typeof ErrorAnswerSchema>;

/** Exit codes of the command line, a contract with scripts. */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, cancelled: 4, unknown: 5 } as const;
