import { z } from 'zod';
import { MigrationIdSchema, NameSchema } from '../names.js';
import {
  PreflightFindingSchema,
  PrioritySchema,
  TransportSchema,
  VerifyModeSchema,
} from '../protocol/messages.js';
import { Count, ErrorBodySchema, Milliseconds, Ok, Rate, Timestamp } from './fields.js';
import { OnLimitSchema, option } from './migration-request.js';

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
      "Pages written by the guest since the harvest before (before the first round: since its writes are followed), per second; 0 for the switchover's round.",
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
