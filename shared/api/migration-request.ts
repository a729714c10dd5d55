import { z } from 'zod';
import { NameSchema } from '../names.js';
import { PrioritySchema, VerifyModeSchema } from '../protocol/messages.js';

export const OnLimitSchema = z
  .enum(['switch-over', 'cancel'])
  .describe(
    'What to do when the rounds reach a limit (stall, rounds, time) with the residual above the threshold.',
  );

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
    .union([z.literal('auto', "must be 'auto' or a number from 1 to 16"), z.number().int().min(1).max(16)])
    .describe("Page streams; 'auto': as many as the first round shows to pay.")
    .default('auto'),
});
export type MigrationOptions = z.output<typeof MigrationOptionsSchema>;

export const option = MigrationOptionsSchema.shape;

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

/** What can be changed of a migration that waits or runs. */
export const ChangeMigrationSchema = z
  .strictObject({ bandwidthBytesPerSecond: option.bandwidthBytesPerSecond.removeDefault() })
  .meta({ id: 'ChangeMigration', description: 'What can be changed of a migration that waits or runs.' });
