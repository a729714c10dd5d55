import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { BandwidthSchema, MigrationOptionsSchema, OnLimitSchema } from './api.js';
import { NameSchema } from './names.js';
import { QemuPolicySchema } from './qemu-policy.js';
import { LEASE_GRACE_MS, OVERTAKE_LIMIT } from './lock-limits.js';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from './protocol/heartbeat-times.js';
import { VerifyModeSchema } from './protocol/messages.js';
import { quantity } from './quantity.js';
import { parseBytes, parseDuration, parseRate } from './units.js';

const bytes = quantity('bytes', parseBytes);
const bytesPerSecond = quantity('bytes/s', parseRate);
/** A time to wait: a timer above 2^31 ms would fire at once, and a day is longer than anyone waits for a peer. */
const waitingTime = (minimumMs = 0) => quantity('ms', parseDuration, minimumMs, MAX_WAIT_MS);
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
    "the path of the socket must be absolute, e.g. 'unix:/run/vmferry/agent.sock'",
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

const UrlSchema = z.url({ protocol: /^https?$/, error: "must be a URL like 'http://10.0.0.2:7800'" }).refine(
  (text) => {
    const { username, password, pathname, search, hash } = new URL(text);
    return username + password + search + hash === '' && pathname === '/';
  },
  {
    error: "must be a host and a port alone, like 'http://10.0.0.2:7800'",
    when: ({ issues }) => issues.length === 0,
  },
);

const migration = MigrationOptionsSchema.shape;
const migrationDefaults = MigrationOptionsSchema.parse({});
const path = z.string().min(1).meta({ allowed: 'a path' });

/**
 * Descriptions are the text of CONFIGURATION.md, which `npm run docs` makes of this. A `fallback` in meta() is what something else takes where
 * the field is not given.
 */
export const AgentFieldsSchema = z.strictObject({
  node: NameSchema.describe('Id of this node, unique in the cluster.').meta({
    allowed: '1 to 63 letters, digits, `.`, `-`, `_`',
  }),
  listen: ListenSchema.prefault('127.0.0.1:7800')
    .describe(
      'Address of the HTTP API and the peer link, on one port, or of a unix socket for the API alone; port 0 takes a free one. ' +
        'Other addresses than loopback need `tls`.',
    )
    .meta({ allowed: '`host:port`, `unix:/path`, or a list of one of each' }),
  tls: z
    .strictObject({
      certificate: path.describe(
        "This node's certificate, with the certificates between it and the CA, if any, behind it.",
      ),
      key: path.describe('Its key, readable for its owner only.'),
      ca: path.describe('The CA whose certificates are accepted.'),
    })
    .optional()
    .describe('Files in PEM with which the port is served over TLS, and peers are dialed.'),
  tokens: path
    .optional()
    .describe(
      "File of the API's tokens, as `vmferry token create` makes them; without one, callers of this host need none.",
    ),
  insecurePlaintext: z
    .boolean()
    .default(false)
    .describe(
      'Lets the agent listen without TLS for other hosts. For labs whose network nobody else is in: whoever can connect operates its ' +
        'VMs, and reads and changes their memory on its way.',
    ),
  peers: z
    .record(NameSchema, UrlSchema)
    .default({})
    .describe('The other nodes and where their agents are.')
    .meta({ allowed: '`NODE: URL`, a line each' }),
  stateDirectory: path.default('/var/lib/vmferry').describe('VM definitions and the ownership journal.'),
  runDirectory: path
    .optional()
    .describe('Sockets, consoles and records of QEMU guests.')
    .meta({ fallback: '`run` in `stateDirectory`' }),
  qemu: z
    .strictObject({
      binary: path
        .default('qemu-system-x86_64')
        .describe('The program.')
        .meta({ allowed: 'a path, or a name that is looked for in PATH' }),
      memoryDirectory: path.default('/dev/shm').describe('Where the RAM of guests lies, as files: a tmpfs.'),
      writeLog: z
        .enum(['auto', 'userfaultfd', 'soft-dirty', 'hash'])
        .default('auto')
        .describe('How writes of guests are followed; `auto`: the best that this host can.'),
      unitSocket: z
        .string()
        .startsWith('/', 'must be an absolute path')
        .optional()
        .describe(
          "Socket of systemd's at which each connection starts a QEMU in a unit of its own; without one QEMU is a process of the " +
            "agent's unit.",
        )
        .meta({ allowed: 'an absolute path' }),
      sandbox: z
        .boolean()
        .default(true)
        .describe('Whether system calls that no guest needs are denied to QEMU (its `-sandbox`).'),
      allow: QemuPolicySchema.prefault({}).describe(
        'What VMs that come from other nodes may have; those defined here may have anything.',
      ),
    })
    .prefault({})
    .describe('How QEMU guests run here.'),
  guestMemory: bytes.prefault('4GiB').describe('Most memory of all guests together.'),
  migration: z
    .strictObject({
      maxDowntime: waitingTime()
        .optional()
        .describe('Longest switchover to aim for.')
        .meta({ fallback: migrationDefaults.maxDowntimeMs }),
      bandwidth: bytesPerSecond
        .pipe(BandwidthSchema)
        .optional()
        .describe('Most that pages may put on the link; 0: no limit, otherwise 64kbit or more.')
        .meta({ fallback: migrationDefaults.bandwidthBytesPerSecond }),
      verify: VerifyModeSchema.optional()
        .describe('Compare the memory of both sides once the guest runs on the target, or before the commit.')
        .meta({ fallback: migrationDefaults.verify }),
      onLimit: OnLimitSchema.optional()
        .describe('What becomes of a guest that writes faster than the link carries, at the limits below.')
        .meta({ fallback: migrationDefaults.onLimit }),
      maxRounds: migration.maxRounds
        .unwrap()
        .optional()
        .describe('Rounds after which `onLimit` applies.')
        .meta({ fallback: migrationDefaults.maxRounds }),
      maxTime: waitingTime()
        .optional()
        .describe('Time of copying after which `onLimit` applies.')
        .meta({ fallback: migrationDefaults.maxTotalMs }),
      stallRounds: migration.stallRounds
        .unwrap()
        .optional()
        .describe('Rounds without a new minimum of the residual after which `onLimit` applies.')
        .meta({ fallback: migrationDefaults.stallRounds }),
      streams: migration.streams
        .unwrap()
        .optional()
        .describe('Page streams, a thread each; `auto`: as many as prove useful in the first round.')
        .meta({ fallback: migrationDefaults.streams, allowed: '`auto`, or 1 to 16' }),
    })
    .default({})
    .describe('Defaults of migrations that start here.'),
  lock: z
    .strictObject({
      overtakeLimit: z
        .number()
        .int()
        .min(0)
        .max(1000)
        .optional()
        .describe('Times that a waiting migration may be overtaken at a node.')
        .meta({ fallback: OVERTAKE_LIMIT }),
      grace: waitingTime()
        .optional()
        .describe('How long a peer whose connection is gone keeps its place or its hold.')
        .meta({ fallback: LEASE_GRACE_MS }),
      disabledForBenchmark: z
        .boolean()
        .optional()
        .describe(
          'Lets any number of migrations run at once. For `vmferry bench concurrent` alone, which measures what the lock is good for: ' +
            'all of them take longer, and guests that write much do not converge.',
        )
        .meta({ fallback: false }),
    })
    .default({})
    .describe('The lock of this node, one migration at a time.'),
  link: z
    .strictObject({
      heartbeat: waitingTime(MIN_HEARTBEAT_MS)
        .optional()
        .describe('Time between two heartbeats.')
        .meta({ fallback: HEARTBEAT_INTERVAL_MS }),
      silence: waitingTime(HEARTBEATS_OF_SILENCE * MIN_HEARTBEAT_MS)
        .optional()
        .describe('Silence after which a connection counts as lost: two heartbeats at least.')
        .meta({ fallback: HEARTBEAT_TIMEOUT_MS }),
      pages: z
        .enum(['auto', 'websocket'])
        .default('auto')
        .describe(
          'What pages travel over: TCP streams that the target opens where it can reach the source, else WebSocket; or always that.',
        ),
    })
    .refine(
      ({ heartbeat = HEARTBEAT_INTERVAL_MS, silence = HEARTBEAT_TIMEOUT_MS }) =>
        silence >= HEARTBEATS_OF_SILENCE * heartbeat,
      `silence must be at least ${HEARTBEATS_OF_SILENCE} times heartbeat: an idle peer would count as lost`,
    )
    .prefault({})
    .describe('Connections to other nodes.'),
  shutdown: z
    .strictObject({
      migrations: z
        .enum(['finish', 'cancel'])
        .default('finish')
        .describe('What becomes of migrations that run away from here; those towards here are given up.'),
      timeout: waitingTime().prefault('30s').describe('Time for them to finish; then they are cancelled.'),
    })
    .prefault({})
    .describe('What happens at SIGTERM.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Lines are JSON on standard output.'),
    })
    .prefault({})
    .describe('The log.'),
});
