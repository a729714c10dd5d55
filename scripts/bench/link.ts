import { fork, type ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';
import type { PageSink } from '../../agent/link/link.js';
import { dialPageStreams } from '../../agent/link/link-client.js';
import { LinkServer } from '../../agent/link/link-server.js';
import { copyBytes } from '../../agent/link/copy-bytes.js';
import { receivePages } from '../../agent/link/page-receiver.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { isPageToken, newPageToken } from '../../agent/link/page-token.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import { formatRate } from '../../shared/units.js';
import { median } from './median.js';

/**
 * How fast pages get from one process to another: read from guest memory, through the agents' link, written into
 * guest memory; beside a bare WebSocket that carries messages of 1 MiB, which the receiver only counts. The two take
 * turns, so that both meet the same machine.
 *
 *   node dist/scripts/bench/link.js [--mib 512] [--rounds 7] [--streams 1] [--json]
 */

const MIB = 2 ** 20;
const MIGRATION = 'bench-link-0000';
/** Messages of the bare transfer that are in flight: as many bytes as the link's own bound. */
const BARE_IN_FLIGHT = 8;

type ToTarget = { regionBytes: number; streams: number; token: string };
type ToSource = { ready: { linkPort: number; barePort: number } } | { done: true } | { failed: string };

/** The target process: receives and says when all has arrived. */
function target(): void {
  const tell = (message: ToSource) => process.send?.(message);
  process.once('message', (setup: ToTarget) => {
    void serve(setup, tell);
  });
  process.once('disconnect', () => process.exit());
}

async function serve(
  { regionBytes, streams, token }: ToTarget,
  tell: (message: ToSource) => void,
): Promise<void> {
  const memory = new Uint8Array(new SharedArrayBuffer(regionBytes));
  const sink = new MemorySink(memory, streams, () => tell({ done: true }));
  const server = createServer();
  new LinkServer({
    server,
    node: 'node-b',
    agent: 'bench',
    onControl: () => undefined,
    authorizePages: (_migration, stream, shown) => {
      if (!isPageToken(token, shown)) throw new MigrationError('not-found', 'no such migration');
      return (connection) =>
        receivePages(connection, stream, sink, 'node-a', (error) => {
          if (error) tell({ failed: error.message });
        });
    },
  });
  const bare = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  bare.on('connection', (socket) => {
    let bytes = 0;
    socket.on('message', (data: Buffer) => {
      bytes += data.length;
      if (bytes < regionBytes) return;
      bytes = 0;
      tell({ done: true });
    });
  });
  server.listen(0, '127.0.0.1');
  await Promise.all([once(server, 'listening'), once(bare, 'listening')]);
  const linkPort = (server.address() as AddressInfo).port;
  tell({ ready: { linkPort, barePort: (bare.address() as AddressInfo).port } });
}

/** Writes into guest memory what it has checked, as an agent's target does. */
class MemorySink implements PageSink {
  readonly #memory: Uint8Array;
  readonly #streams: number;
  readonly #done: () => void;
  #ended = 0;

  constructor(memory: Uint8Array, streams: number, done: () => void) {
    this.#memory = memory;
    this.#streams = streams;
    this.#done = done;
  }

  pages(_stream: number, run: Run): void {
    const end = (run.firstPage + run.pageCount) * PAGE_SIZE;
    if (run.region !== 0 || end > this.#memory.length) throw new MigrationError('out-of-range', 'outside');
  }

  payload(_stream: number, _region: number, offset: number, chunk: Uint8Array): void {
    copyBytes(this.#memory, offset, chunk);
  }

  pagesEnd(): void {
    // nothing is kept of a frame
  }

  zeroPages(): void {
    throw new MigrationError('unexpected-message', 'the benchmark sends no zero pages');
  }

  blob(): void {
    throw new MigrationError('unexpected-message', 'the benchmark sends no blobs');
  }

  roundEnd(): void {
    this.#ended += 1;
    if (this.#ended % this.#streams === 0) this.#done();
  }
}

/** Resolves when the target says that all has arrived. */
async function arrived(child: ChildProcess): Promise<void> {
  const [message] = (await once(child, 'message')) as [ToSource];
  if ('failed' in message) throw new Error(message.failed);
}

async function measured(child: ChildProcess, send: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await Promise.all([arrived(child), send()]);
  return performance.now() - start;
}

async function sendBare(socket: WebSocket, memory: Uint8Array): Promise<void> {
  const inFlight: Promise<void>[] = [];
  for (let offset = 0; offset < memory.length; offset += MIB) {
    if (inFlight.length >= BARE_IN_FLIGHT) await inFlight.shift();
    const message = memory.subarray(offset, offset + MIB);
    inFlight.push(
      new Promise((resolve, reject) =>
        socket.send(message, { binary: true }, (error) => (error ? reject(error) : resolve())),
      ),
    );
  }
  await Promise.all(inFlight);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      mib: { type: 'string', default: '512' },
      rounds: { type: 'string', default: '7' },
      streams: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  const [mib, rounds, streams] = [Number(values.mib), Number(values.rounds), Number(values.streams)];
  const memory = new Uint8Array(new SharedArrayBuffer(mib * MIB));
  // random, so that no page is zero and nothing below can compress it
  randomFillSync(memory);
  const token = newPageToken();
  const child = fork(fileURLToPath(import.meta.url), ['--target']);
  child.send({ regionBytes: memory.length, streams, token } satisfies ToTarget);
  const [message] = (await once(child, 'message')) as [ToSource];
  if (!('ready' in message)) throw new Error('the target did not start');
  const { linkPort, barePort } = message.ready;
  const bare = new WebSocket(`ws://127.0.0.1:${barePort}`, {
    perMessageDeflate: false,
    generateMask: (mask) => mask.fill(0),
  });
  await once(bare, 'open');
  const url = `http://127.0.0.1:${linkPort}`;
  const sender = new StreamedPageSender(
    await dialPageStreams({ to: 'node-b', url, migrationId: MIGRATION, streams, token }),
    { peer: 'node-b' },
  );
  const sendLink = async () => {
    await sender.sendPages({ region: 0, firstPage: 0, pageCount: memory.length / PAGE_SIZE }, memory);
    await sender.sendRoundEnd(0);
  };

  const link: number[] = [];
  const plain: number[] = [];
  // round 0 warms up: code is compiled, memory of the target populated
  for (let round = 0; round <= rounds; round += 1) {
    const bareMs = await measured(child, () => sendBare(bare, memory));
    const linkMs = await measured(child, sendLink);
    if (round === 0) continue;
    plain.push((memory.length / bareMs) * 1000);
    link.push((memory.length / linkMs) * 1000);
  }
  sender.close();
  bare.close();
  child.disconnect();
  const result = {
    mib,
    rounds,
    streams,
    processors: availableParallelism(),
    node: process.version,
    linkBytesPerSecond: Math.round(median(link)),
    bareBytesPerSecond: Math.round(median(plain)),
    // of each round, so that what disturbs the machine disturbs both
    ratio: Number(median(link.map((rate, round) => rate / (plain[round] ?? NaN))).toFixed(3)),
  };
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ...result, link, bare: plain })}\n`);
    return;
  }
  const range = (rates: number[]) => `${formatRate(Math.min(...rates))} to ${formatRate(Math.max(...rates))}`;
  process.stdout.write(
    `pages, memory to memory  ${formatRate(result.linkBytesPerSecond)}  (${range(link)})\n` +
      `bare WebSocket, 1 MiB    ${formatRate(result.bareBytesPerSecond)}  (${range(plain)})\n` +
      `ratio                    ${result.ratio}  (medians of ${rounds} rounds of ${mib} MiB, ${streams} stream(s))\n`,
  );
}

if (process.argv.includes('--target')) target();
else await main();
