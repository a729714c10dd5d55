import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { MigrationError } from '../../../../shared/errors.js';
import { systemTimers } from '../../../../shared/timers.js';
import { keepCapabilities } from '../../../system/ambient-capabilities.js';
import { monitorArguments } from '../process/command-line.js';
import { complaints } from '../process/complaints.js';
import { connectStarting } from '../qmp/connect-starting.js';
import type { QmpConnection } from '../qmp/qmp-connection.js';
import { QmpConnectionError } from '../qmp/qmp-errors.js';
import { inProbeDirectory } from './probe-directory.js';

/** For a QEMU that is asked about itself, from its start to its end: loading it from a slow disk included. ms */
const PROBE_MS = 20_000;
/** Of what a QEMU says: kept, and told as it fails. */
const MAX_HEARD = 4096;
const MAX_WORDS = 300;

/** How a QEMU ended. */
export interface ProbeEnd {
  /** Exit code; null where a signal ended it, the time limit's among them. */
  readonly exitCode: number | null;
  /** That in words, with the first line of what it said. */
  readonly words: string;
}

interface Probe {
  readonly end: Promise<ProbeEnd>;
  kill(): void;
}

/** Runs QEMU to its end, at most PROBE_MS. Throws unsupported-guest if it can't be started at all. */
export async function runQemu(binary: string, parameters: readonly string[]): Promise<ProbeEnd> {
  return await (
    await start(binary, parameters)
  ).end;
}

/**
 * Starts a QEMU without a guest, lets `ask` ask it, and ends it, whatever happens. Throws unsupported-guest if it can't be
 * started or ends before it has answered.
 */
export async function askQemu<Answer>(
  binary: string,
  parameters: readonly string[],
  ask: (qmp: QmpConnection) => Promise<Answer>,
): Promise<Answer> {
  return await inProbeDirectory(async (directory) => {
    const path = join(directory, 'qmp');
    const fixed = ['-S', '-nodefaults', '-no-user-config', '-display', 'none'];
    const probe = await start(binary, [...fixed, ...monitorArguments(path), ...parameters]);
    const ended = probe.end.then(({ words }): never => {
      throw new MigrationError('unsupported-guest', `${binary} ${words}`);
    });
    try {
      const qmp = await connectStarting(path, ended, { timeoutMs: PROBE_MS });
      try {
        return await ask(qmp);
      } catch (error) {
        if (error instanceof QmpConnectionError) await ended;
        throw error;
      } finally {
        qmp.close();
      }
    } finally {
      probe.kill();
      await probe.end.catch(() => undefined);
    }
  });
}

/** Has the kernel end the program behind it with this process, however that ends; see PR_SET_PDEATHSIG in prctl(2). */
const MORTAL = ['setpriv', '--pdeathsig', 'KILL'] as const;

let mortal: Promise<readonly string[]> | null = null;

/** That, where this host's setpriv can do it: util-linux's can, busybox's can't. */
function mortality(): Promise<readonly string[]> {
  mortal ??= (async () => {
    const [program, ...options] = MORTAL;
    const child = spawn(program, [...options, 'true'], { stdio: 'ignore' });
    const [exitCode] = (await once(child, 'exit').catch(() => [null])) as [number | null];
    return exitCode === 0 ? MORTAL : [];
  })();
  return mortal;
}

/** Nobody else knows of it: it must not outlive this process. */
async function start(binary: string, parameters: readonly string[]): Promise<Probe> {
  const [program = binary, ...rest] = [...(await mortality()), binary, ...parameters];
  keepCapabilities();
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    if (said.length < MAX_HEARD) said = (said + text.toString()).slice(0, MAX_HEARD);
  });
  const end = new Promise<ProbeEnd>((resolve, reject) => {
    const cancelLimit = systemTimers.after(PROBE_MS, kill);
    child.on('error', (error) => {
      cancelLimit();
      const text = `${binary} can't be started: ${error.message}`;
      reject(new MigrationError('unsupported-guest', text, { cause: error }));
    });
    child.on('close', (exitCode, signal) => {
      cancelLimit();
      const how = exitCode === null ? `was ended by ${signal}` : `ended with code ${exitCode}`;
      const [firstLine = ''] = complaints(said).slice(0, MAX_WORDS).split('\n');
      resolve({ exitCode, words: firstLine === '' ? how : `${how}: ${firstLine}` });
    });
  });
  return { end, kill };
}
