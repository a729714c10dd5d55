import { isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { BandwidthSchema, MigrationOptionsSchema, OnLimitSchema } from './api.js';
import { NameSchema } from './names.js';
import { QemuPolicySchema } from './qemu-policy.js';
import { LEASE_GRACE_MS, OVERTAKE_LIMIT } from './lock-limits.js';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from './protocol/heartbeat-times.js';
import { VerifyModeSchema } from './protocol/messages.js';
import { parseBytes, parseDuration, parseRate } from './units.js';

/** Text with a unit, or a plain number in `unit`. */
export const quantity = (
  unit: 'bytes' | 'bytes/s' | 'ms',
  parse: (text: string) => number,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
) =>
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
    .pipe(z.number().min(minimum).max(maximum))
    .meta({ unit, minimum, maximum });
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

/** Whether only this host's own programs can connect to it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

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
const AgentFieldsSchema = z.strictObject({
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
      certificate: path.describe("This node's certificate, with what is between it and the CA behind it."),
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
        .describe('Page streams, a thread each; `auto`: as many as the first round shows to pay.')
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
        .describe('Between two heartbeats.')
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
      timeout: waitingTime().prefault('30s').describe('For them to finish; then they are cancelled.'),
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

/** Whether a path is that directory, or lies in it. */
function isWithin(path: string, directory: string): boolean {
  const way = relative(resolve(directory), resolve(path));
  return !isAbsolute(way) && way !== '..' && !way.startsWith('../');
}

/** What an agent keeps in its state directory; see there. */
const STATE = ['guests', 'journal', 'waiting'];

/** The configuration of an agent, as in its YAML file. */
export const AgentConfigSchema = AgentFieldsSchema.superRefine((config, context) => {
  const { node, listen, tls, tokens, peers, insecurePlaintext, stateDirectory, runDirectory, qemu } = config;
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

  const addresses = new Map<string, string>();
  for (const [name, url] of Object.entries(peers)) {
    const { origin, protocol, hostname, port } = new URL(url);
    const secure = protocol === 'https:';
    const other = addresses.get(origin);
    addresses.set(origin, name);
    if (name === node) {
      refuse(['peers', name], "that is this node itself ('node'): name the others alone, or correct 'node'");
    } else if (tls && !secure) {
      refuse(['peers', name], `${url} is without TLS, and this agent has 'tls': write https://`);
    } else if (!tls && secure) {
      refuse(['peers', name], `${url} is with TLS, and this agent has none: give it 'tls'`);
    } else if (other !== undefined) {
      refuse(['peers', name], `peer ${other} has that address already: give each its own`);
    } else if (listen.tcp?.host === hostname.replace(/^\[|\]$/g, '') && listen.tcp.port === Number(port)) {
      refuse(
        ['peers', name],
        "that is where this agent itself listens ('listen'): give the address of that node",
      );
    }
  }

  if (resolve(stateDirectory) === '/') {
    refuse(['stateDirectory'], 'must be a directory of its own, as /var/lib/vmferry');
  }
  if (isWithin(stateDirectory, qemu.memoryDirectory)) {
    const lost =
      'what is there is memory, and gone with a restart of the host, VM definitions and whose they are with it';
    refuse(['stateDirectory'], `it is in 'qemu.memoryDirectory': ${lost}; name one on a disk`);
  }
  if (runDirectory !== undefined) {
    const remedy = 'name one of its own, as /run/vmferry, or none';
    if (isWithin(stateDirectory, runDirectory)) {
      refuse(
        ['runDirectory'],
        `'stateDirectory' is that or lies in it, and would be taken for a VM's: ${remedy}`,
      );
    }
    const kept = STATE.find((name) => isWithin(runDirectory, join(stateDirectory, name)));
    if (kept)
      refuse(['runDirectory'], `the agent keeps other things in ${join(stateDirectory, kept)}: ${remedy}`);
  }
});

export type AgentConfig = z.output<typeof AgentConfigSchema>;
