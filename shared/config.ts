import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { BandwidthSchema, MigrationOptionsSchema, OnLimitSchema } from './api.js';
import { NameSchema } from './names.js';
import { QemuPolicySchema } from './qemu-policy.js';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from './protocol/heartbeat-times.js';
import { VerifyModeSchema } from './protocol/messages.js';
import { parseBytes, parseDuration, parseRate } from './units.js';

/** Text with a unit, or a plain number in the unit that the field's description names. */
export const quantity = (parse: (text: string) => number, minimum = 0, maximum = Number.MAX_SAFE_INTEGER) =>
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

const TcpAddressSchema = z
  .string()
  .regex(
    /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/,
    "must be 'host:port' or 'unix:/path', e.g. 127.0.0.1:7800",
  )
  .transform((text) => {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
  })
  .refine(({ port }) => port <= 65_535, 'the port must be at most 65535');

/** The kernel's limit of a socket's path, one byte of which ends it. bytes */
const MAX_SOCKET_PATH_BYTES = 107;

const UnixAddressSchema = z
  .string()
  .startsWith('unix:')
  .transform((text) => ({ path: text.slice('unix:'.length) }))
  .refine(
    ({ path }) => isAbsolute(path),
    "the path of the socket must be absolute, e.g. 'unix:/run/vmferry.sock'",
  )
  .refine(
    ({ path }) => Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES,
    `the path of the socket must have at most ${MAX_SOCKET_PATH_BYTES} bytes`,
  );

const AddressSchema = z.string().transform((text, context) => {
  const parsed = (text.startsWith('unix:') ? UnixAddressSchema : TcpAddressSchema).safeParse(text);
  if (parsed.success) return parsed.data;
  context.addIssue({ code: 'custom', message: parsed.error.issues.map(({ message }) => message).join('; ') });
  return z.NEVER;
});

/** Where an agent listens: on a port, on a unix socket, or on one of each. */
const ListenSchema = z
  .union([AddressSchema.transform((address) => [address]), z.array(AddressSchema).min(1).max(2)])
  .transform((addresses) => ({
    tcp: addresses.filter((address) => 'port' in address),
    unix: addresses.filter((address) => 'path' in address),
  }))
  .refine(({ tcp, unix }) => tcp.length <= 1 && unix.length <= 1, 'name at most one port and one unix socket')
  .transform(({ tcp: [tcp], unix: [unix] }) => ({ tcp: tcp ?? null, unix: unix ?? null }));

/** Whether only this host's own programs can connect to it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

const UrlSchema = z.url({ protocol: /^https?$/, error: "must be a URL like 'http://10.0.0.2:7800'" });

const AgentFieldsSchema = z.strictObject({
  /** Id of this node, unique in the cluster. */
  node: NameSchema,
  /** Address of the HTTP API and the peer link, and of a unix socket for the API; port 0 takes a free one. */
  listen: ListenSchema.default({ tcp: { host: '127.0.0.1', port: 7800 }, unix: null }),
  /** Files in PEM with which the port is served over TLS, and peers are dialed. */
  tls: z
    .strictObject({
      /** This node's, with what is between it and the CA behind it. */
      certificate: z.string().min(1),
      key: z.string().min(1),
      /** Whose certificates are accepted. */
      ca: z.string().min(1),
    })
    .optional(),
  /** File of the API's tokens, as `vmferry token create` makes them; without one, callers of this host need none. */
  tokens: z.string().min(1).optional(),
  /**
   * Lets the agent listen without TLS for other hosts. For labs whose network nobody else is in: whoever can connect operates its VMs, and
   * reads and changes their memory on its way.
   */
  insecurePlaintext: z.boolean().default(false),
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
      /** Whether system calls that no guest needs are denied to QEMU (its `-sandbox`). */
      sandbox: z.boolean().default(true),
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

/** The configuration of an agent, as in its YAML file. */
export const AgentConfigSchema = AgentFieldsSchema.superRefine(
  ({ listen, tls, tokens, peers, insecurePlaintext }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const exposed = listen.tcp !== null && !isLoopback(listen.tcp.host);
    if (exposed && !tls && !insecurePlaintext) {
      refuse(
        ['listen'],
        `${listen.tcp?.host} can be reached from other hosts, and there is no 'tls': give it a certificate, key and ca ` +
          '(./scripts/make-certificates makes them), or listen on 127.0.0.1 or unix:/PATH',
      );
    }
    if (exposed && tls && tokens === undefined && listen.unix === null) {
      const remedy =
        "name a file of tokens as 'tokens' ('vmferry token create' makes them), or listen on unix:/PATH too";
      refuse(['listen'], `nobody could use this agent's API, which needs tokens there: ${remedy}`);
    }
    if (tls && insecurePlaintext) refuse(['insecurePlaintext'], "there is 'tls': remove one of both");
    for (const [node, url] of Object.entries(peers)) {
      const secure = url.startsWith('https:');
      if (tls && !secure)
        refuse(['peers', node], `${url} is without TLS, and this agent has 'tls': write https://`);
      if (!tls && secure)
        refuse(['peers', node], `${url} is with TLS, and this agent has none: give it 'tls'`);
    }
  },
);

export type AgentConfig = z.output<typeof AgentConfigSchema>;
