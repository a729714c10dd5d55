import { z } from 'zod';
import { NameSchema } from '../names.js';
import { Count, ErrorBodySchema, Milliseconds, NodeAddress, Timestamp } from './fields.js';
import { GuestInfoSchema } from './guests.js';
import { MigrationInfoSchema, QueueEntrySchema } from './migrations.js';

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
      'The earliest that it may begin, by what runs and waits before it: an estimate. Null where not enough is known, or it runs.',
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

export const ClusterQuerySchema = z.strictObject({
  fresh: z
    .enum(['true', 'false'])
    .describe("'true': nothing that was found before the request; else the answer may be a second old.")
    .default('false'),
});

export const DrainSchema = z
  .strictObject({ drained: z.boolean() })
  .meta({ id: 'Drain', description: 'Whether guests may come to the node.' });

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
