import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { WebSocket } from 'ws';
import { Agent } from '../../../agent/agent.js';
import { CONTROL_PATH } from '../../../agent/link/link-paths.js';
import { AgentConfigSchema } from '../../../shared/config.js';
import { encodeSourceMessage } from '../../../shared/protocol/control-codec.js';
import { SOURCE_SAMPLES } from '../../support/link-samples.js';
import { mutatedBytes, mutatedJson } from '../mutate.js';
import type { Random } from '../random.js';
import type { FuzzTarget, FuzzTargetKind } from '../target.js';
import { DEFINITIONS } from './pure.js';

/** A whole agent in this process, by its real port: what a client or a peer sends it. */

interface LiveAgent {
  readonly url: string;
  readonly port: number;
}

function live(
  name: string,
  cases: number,
  run: (agent: LiveAgent, random: Random) => Promise<void>,
): FuzzTargetKind {
  const open = async (): Promise<FuzzTarget> => {
    const directory = await mkdtemp(join(tmpdir(), 'vmferry-fuzz-'));
    const config = AgentConfigSchema.parse({
      ...{ node: 'a', listen: '127.0.0.1:0', stateDirectory: directory, guestMemory: '64MiB' },
      peers: { b: 'http://127.0.0.1:1' },
    });
    const agent = await Agent.start(config, pino({ level: 'silent' }));
    const { url } = agent;
    const { port } = new URL(url) as unknown as AddressInfo;
    return {
      run: (random) => run({ url, port: Number(port) }, random),
      stillServing: async () => {
        const answer = await fetch(`${url}/v1/node`);
        if (answer.status !== 200) throw new Error(`the agent answers ${answer.status}`);
        for (const { name } of (await (await fetch(`${url}/v1/guests`)).json()) as { name: string }[]) {
          await fetch(`${url}/v1/guests/${name}/stop`, { method: 'POST' });
          await fetch(`${url}/v1/guests/${name}`, { method: 'DELETE' });
        }
      },
      close: async () => {
        await agent.close();
        await rm(directory, { recursive: true, force: true });
      },
    };
  };
  return { name, cases, ciCases: 200, open };
}

const REQUESTS = [
  'GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'GET /v1/guests/web/console?position=7 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 3\r\nConnection: close\r\n\r\n',
  'POST /v1/migrations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 23\r\nConnection: close\r\n\r\n{"vm": "web", "to":"b"}',
  'POST /v1/preflight HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"vm"\r\n0\r\n\r\n',
  `GET ${CONTROL_PATH} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
].map((request) => Buffer.from(request));

/** Bytes that may be HTTP. What the agent does with them is its own; it goes on serving. */
async function http({ port }: LiveAgent, random: Random): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  socket.resume();
  socket.end(mutatedBytes(random, REQUESTS));
  if (!socket.closed) await once(socket, 'close');
}

const BODIES: readonly (readonly [string, string, unknown])[] = [
  ...DEFINITIONS.map((definition) => ['POST', '/v1/guests', { definition }] as const),
  [
    'POST',
    '/v1/migrations',
    { vm: 'web', to: 'b', options: { maxDowntimeMs: 30, streams: 2, verify: 'after' } },
  ],
  ['POST', '/v1/preflight', { vm: 'web', to: 'b', options: {} }],
  ['PATCH', '/v1/migrations/m-20260101-0001', { bandwidthBytesPerSecond: 100_000 }],
  ['POST', '/v1/link-tests', { to: 'b', bytes: 1_048_576, streams: 1 }],
  ['POST', '/v1/guests/web/console', { data: 'bHM=' }],
];
/** What a promise of the API is broken by: anything that a client gets for what it sent. */
const OWN_FAULTS = new Set([500, 504]);

async function api({ url }: LiveAgent, random: Random): Promise<void> {
  const [method, path, sample] = random.pick(BODIES);
  const answer = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(mutatedJson(random, sample)) ?? 'null',
  });
  const text = await answer.text();
  if (OWN_FAULTS.has(answer.status)) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  if (
    answer.status >= 400 &&
    typeof (JSON.parse(text) as { error: { code: unknown } }).error.code !== 'string'
  ) {
    throw new Error(`an error without a code: ${text}`);
  }
}

const MESSAGES = SOURCE_SAMPLES.map((message) => Buffer.from(encodeSourceMessage(message)));

/** A source that says hello as it should, gets as far as chance has it, and then says anything. */
async function link({ url }: LiveAgent, random: Random): Promise<void> {
  const socket = new WebSocket(url.replace('http', 'ws') + CONTROL_PATH, { perMessageDeflate: false });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  await once(socket, 'open');
  const migrationId = `m-fuzz-${random.word()}`;
  const say = (message: Parameters<typeof encodeSourceMessage>[0]) =>
    socket.send(encodeSourceMessage(message));
  const steps = random.below(4);
  if (steps > 0) {
    const versions = { min: 1, max: 1 };
    say({ type: 'hello', versions, node: 'b', to: 'a', agent: 'fuzz', features: [], migrationId });
  }
  if (steps > 1) {
    say({ type: 'lock-request', vm: 'web', requestedAt: 1 });
    say({ type: 'lock-try' });
  }
  if (steps > 2) say({ type: 'lock-confirm' });
  for (let left = 1 + random.below(4); left > 0; left -= 1) socket.send(mutatedBytes(random, MESSAGES));
  say({ type: 'lock-release' });
  socket.close(1000);
  await closed;
}

export const LIVE_TARGETS: readonly FuzzTargetKind[] = [
  live('http', 10_000, http),
  live('api', 10_000, api),
  live('link', 10_000, link),
];
