import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { MigrationError } from '../../shared/errors.js';
import type { BenchHost } from './test-bed.js';

const run = promisify(execFile);

const PORT = 5201;

/** Between two attempts to reach a server that starts. ms */
const TRY_AGAIN_MS = 100;
const TRIES = 50;

/** Where an iperf3 server is, and how a client is started that talks to it. */
export interface Iperf3 {
  readonly address: string;
  readonly port: number;
  readonly launcher: readonly string[];
  close(): void;
}

/** Starts a server at one end; its client runs at the other, as the pages flow. */
export async function startIperf3(client: BenchHost, server: BenchHost): Promise<Iperf3> {
  const port = PORT + 1 + (process.pid % 1000);
  const command = [...server.launcher, 'iperf3', '--server', '--port', String(port)];
  const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`iperf3 --server ended with exit code ${String(code)}`);
  });
  failed.catch(() => undefined);
  const close = () => void child.kill('SIGKILL');
  try {
    const iperf3 = { address: server.address, port, launcher: client.launcher, close };
    await Promise.race([failed, answers(iperf3, child)]);
    return iperf3;
  } catch (error) {
    close();
    throw error;
  }
}

/** A server that somebody has started on the target's host: 'HOST' or 'HOST:PORT'. Throws invalid-request. */
export function foreignIperf3(text: string): Iperf3 {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text);
  if (!match) {
    throw new MigrationError(
      'invalid-request',
      `--iperf3: '${text}' must be HOST or HOST:PORT of its server`,
    );
  }
  const address = match[1]!.replace(/^\[|\]$/g, '');
  return { address, port: Number(match[2] ?? PORT), launcher: [], close: () => undefined };
}

/** Bytes a second that one stream of so many bytes was received with. `block`: of its writes; its default if absent. bytes */
export async function measureIperf3(iperf3: Iperf3, bytes: number, block?: number): Promise<number> {
  const parameters = ['--bytes', String(bytes), ...(block === undefined ? [] : ['--length', String(block)])];
  const { end, error } = await client(iperf3, parameters);
  if (!end)
    throw new Error(`iperf3 against ${iperf3.address} port ${iperf3.port} failed: ${error ?? 'no reason'}`);
  return end.sum_received.bits_per_second / 8;
}

/** What of its JSON is used. */
interface Answer {
  readonly error?: string;
  readonly end?: { readonly sum_received: { readonly bits_per_second: number } };
}

async function client({ address, port, launcher }: Iperf3, parameters: readonly string[]): Promise<Answer> {
  const command = [
    ...launcher,
    'iperf3',
    '--client',
    address,
    '--port',
    String(port),
    '--json',
    ...parameters,
  ];
  try {
    const { stdout } = await run(command[0]!, command.slice(1));
    return JSON.parse(stdout) as Answer;
  } catch (thrown) {
    const { stdout, code, message } = thrown as { stdout?: string; code?: unknown; message: string };
    if (code === 'ENOENT')
      throw new Error('iperf3 is not installed: apt-get install iperf3', { cause: thrown });
    if (stdout === undefined || stdout === '') throw new Error(message, { cause: thrown });
    return JSON.parse(stdout) as Answer;
  }
}

/** It gives no sign that it listens but that it answers. */
async function answers(iperf3: Iperf3, server: ChildProcess): Promise<void> {
  for (let tries = 0; tries < TRIES && server.exitCode === null; tries += 1) {
    const { end } = await client(iperf3, ['--bytes', '1']);
    if (end) return;
    await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
  }
  throw new Error(`the iperf3 server at ${iperf3.address} port ${iperf3.port} does not answer`);
}
