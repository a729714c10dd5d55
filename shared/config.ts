import { z } from 'zod';
import { MigrationOptionsSchema, OnLimitSchema } from './api.js';
import { NameSchema } from './names.js';
import { VerifyModeSchema } from './protocol/messages.js';
import { parseBytes, parseDuration, parseRate } from './units.js';

/** Text with a unit, or a plain number in the unit that the field's description names. */
const quantity = (parse: (text: string) => number) =>
  z.union([
    z.number().min(0),
    z.string().transform((text, context) => {
      try {
        return parse(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    }),
  ]);
const bytes = quantity(parseBytes);
const milliseconds = quantity(parseDuration);
const bytesPerSecond = quantity(parseRate);

const ListenSchema = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, "must be 'host:port', e.g. 127.0.0.1:7800")
  .transform((text) => {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
  })
  .refine(({ port }) => port <= 65_535, 'the port must be at most 65535');

const UrlSchema = z.url({ protocol: /^https?$/, error: "must be a URL like 'http://10.0.0.2:7800'" });

/** The configuration of an agent, as in its YAML file. */
export const AgentConfigSchema = z.strictObject({
  /** Id of this node, unique in the cluster. */
  node: NameSchema,
  /** Address of the HTTP API and the peer link; port 0 takes a free one. */
  listen: ListenSchema.default({ host: '127.0.0.1', port: 7800 }),
  /** The other nodes and where their agents are. */
  peers: z.record(NameSchema, UrlSchema).default({}),
  /** VM definitions and the ownership journal. */
  stateDirectory: z.string().min(1).default('/var/lib/vmferry'),
  /** Most memory of all guests together. bytes */
  guestMemory: bytes.default(4 * 2 ** 30),
  /** Defaults of migrations that start here. */
  migration: z
    .strictObject({
      /** ms */
      maxDowntime: milliseconds.optional(),
      /** bytes/s; 0: no limit */
      bandwidth: bytesPerSecond.optional(),
      verify: VerifyModeSchema.optional(),
      onLimit: OnLimitSchema.optional(),
      maxRounds: MigrationOptionsSchema.shape.maxRounds.unwrap().optional(),
      /** ms */
      maxTime: milliseconds.optional(),
      stallRounds: MigrationOptionsSchema.shape.stallRounds.unwrap().optional(),
      streams: MigrationOptionsSchema.shape.streams.unwrap().optional(),
    })
    .default({}),
  lock: z
    .strictObject({
      /** Times that a waiting migration may be overtaken at a node. */
      overtakeLimit: z.number().int().min(0).max(1000).optional(),
      /** How long a peer whose connection is gone keeps its place or its hold. ms */
      grace: milliseconds.optional(),
    })
    .default({}),
  link: z
    .strictObject({
      /** Between two heartbeats. ms */
      heartbeat: milliseconds.optional(),
      /** Silence after which a connection counts as lost. ms */
      silence: milliseconds.optional(),
    })
    .default({}),
  shutdown: z
    .strictObject({
      /** What becomes of running migrations: finished (within the timeout), or cancelled. */
      migrations: z.enum(['finish', 'cancel']).default('finish'),
      /** ms */
      timeout: milliseconds.default(30_000),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info') })
    .prefault({}),
});

export type AgentConfig = z.output<typeof AgentConfigSchema>;
