import { z } from 'zod';
import { BandwidthSchema, MigrationOptionsSchema, OnLimitSchema } from './api.js';
import { NameSchema } from './names.js';
import { QemuPolicySchema } from './qemu-policy.js';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from './protocol/heartbeat-times.js';
import { VerifyModeSchema } from './protocol/messages.js';
import { parseBytes, parseDuration, parseRate } from './units.js';

/** Text with a unit, or a plain number in the unit that the field's description names. */
const quantity = (parse: (text: string) => number, minimum = 0, maximum = Number.MAX_SAFE_INTEGER) =>
  z
    .union([
      z.number(),
      z.string().transform((text, context) => {
        try {
          return parse(text);
        } catch (error) {
          context.addIssue({ code: 'custom', message: (error as Error).message });
          return z.NEVER;
        }
      }),
    ])
    .pipe(z.number().min(minimum).max(maximum));
const bytes = quantity(parseBytes);
const bytesPerSecond = quantity(parseRate);
/** A time to wait: a timer above 2^31 ms would fire at once, and a day is longer than anyone waits for a peer. */
const waitingTime = (minimumMs = 0) => quantity(parseDuration, minimumMs, MAX_WAIT_MS);
const MAX_WAIT_MS = 86_400_000;
/** More frequent heartbeats would be all that the agents do. */
const MIN_HEARTBEAT_MS = 10;
/** Heartbeats that a busy peer may be late before it counts as gone. */
const HEARTBEATS_OF_SILENCE = 2;

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
  /** Sockets, consoles and process ids of QEMU guests; '<stateDirectory>/run' if not given. */
  runDirectory: z.string().min(1).optional(),
  /** How QEMU guests run here. */
  qemu: z
    .strictObject({
      /** The program: a path, or a name that is looked for in PATH. */
      binary: z.string().min(1).default('qemu-system-x86_64'),
      /** Where the RAM of guests lies, as files: a tmpfs. */
      memoryDirectory: z.string().min(1).default('/dev/shm'),
      /** How writes of guests are followed; 'auto': the best that this host can. */
      writeLog: z.enum(['auto', 'userfaultfd', 'soft-dirty', 'hash']).default('auto'),
      /** What VMs that come from other nodes may have; those defined here may have anything. */
      allow: QemuPolicySchema.prefault({}),
    })
    .prefault({}),
  /** Most memory of all guests together. bytes */
  guestMemory: bytes.default(4 * 2 ** 30),
  /** Defaults of migrations that start here. */
  migration: z
    .strictObject({
      /** ms */
      maxDowntime: waitingTime().optional(),
      /** bytes/s; 0: no limit */
      bandwidth: bytesPerSecond.pipe(BandwidthSchema).optional(),
      verify: VerifyModeSchema.optional(),
      onLimit: OnLimitSchema.optional(),
      maxRounds: MigrationOptionsSchema.shape.maxRounds.unwrap().optional(),
      /** ms */
      maxTime: waitingTime().optional(),
      stallRounds: MigrationOptionsSchema.shape.stallRounds.unwrap().optional(),
      streams: MigrationOptionsSchema.shape.streams.unwrap().optional(),
    })
    .default({}),
  lock: z
    .strictObject({
      /** Times that a waiting migration may be overtaken at a node. */
      overtakeLimit: z.number().int().min(0).max(1000).optional(),
      /** How long a peer whose connection is gone keeps its place or its hold. ms */
      grace: waitingTime().optional(),
      /**
       * Lets any number of migrations run at once. For `vmferry bench concurrent` alone, which measures what the lock is
       * good for: all of them take longer, and guests that write much do not converge.
       */
      disabledForBenchmark: z.boolean().optional(),
    })
    .default({}),
  link: z
    .strictObject({
      /** Between two heartbeats. ms */
      heartbeat: waitingTime(MIN_HEARTBEAT_MS).optional(),
      /** Silence after which a connection counts as lost. ms */
      silence: waitingTime(HEARTBEATS_OF_SILENCE * MIN_HEARTBEAT_MS).optional(),
      /** What pages travel over: TCP streams that the target opens where it can reach the source, else WebSocket; or always that. */
      pages: z.enum(['auto', 'websocket']).default('auto'),
    })
    .refine(
      ({ heartbeat = HEARTBEAT_INTERVAL_MS, silence = HEARTBEAT_TIMEOUT_MS }) =>
        silence >= HEARTBEATS_OF_SILENCE * heartbeat,
      `silence must be at least ${HEARTBEATS_OF_SILENCE} times heartbeat: an idle peer would count as lost`,
    )
    .prefault({}),
  shutdown: z
    .strictObject({
      /** What becomes of migrations that run away from here: finished (within the timeout), or cancelled. */
      migrations: z.enum(['finish', 'cancel']).default('finish'),
      /** ms */
      timeout: waitingTime().default(30_000),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info') })
    .prefault({}),
});

export type AgentConfig = z.output<typeof AgentConfigSchema>;
