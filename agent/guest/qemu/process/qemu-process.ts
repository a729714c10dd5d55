import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { MigrationError, outOfDescriptors } from '../../../../shared/errors.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { delay, systemTimers } from '../../../../shared/timers.js';
import { keepCapabilities } from '../../../system/ambient-capabilities.js';
import { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.js';

/** Between two looks at a process that is no child of ours and about to end. ms */
const LOOK_MS = 5;
/** For QEMU to end after SIGTERM; it closes its disks meanwhile. ms */
const TERMINATION_MS = 5_000;
/** For the kernel to end a process after SIGKILL; one that waits for a dead disk may never end. ms */
const KILL_MS = 10_000;

const MEANING: { readonly [S in NodeJS.Signals]?: string } = {
  SIGSYS: " (a system call that -sandbox denies: leave out what needs it, or set 'qemu.sandbox' to false)",
};

/** A QEMU process, started by this agent or by one before it. It outlives the agent. */
export class QemuProcess {
  readonly identity: ProcessIdentity;
  /** Resolves with how it ended. Of one that is no child of ours the end is noticed by watch() alone. */
  readonly ended: Promise<string>;
  #end!: (how: string) => void;
  readonly #child: ChildProcess | null;
  #over = false;

  private constructor(identity: ProcessIdentity, child: ChildProcess | null) {
    this.identity = identity;
    this.#child = child;
    this.ended = new Promise((resolve) => {
      this.#end = (how) => {
        this.#over = true;
        resolve(how);
      };
    });
    child?.once('exit', (code, signal) =>
      this.#end(signal ? `was ended by ${signal}${MEANING[signal] ?? ''}` : `ended with exit code ${code}`),
    );
  }

  /** Starts QEMU in a session of its own. Throws guest-failed if there is no such program. */
  static async start(binary: string, parameters: readonly string[], logFile: string): Promise<QemuProcess> {
    const log = await open(logFile, 'a', 0o600);
    try {
      keepCapabilities();
      const child = spawn(binary, parameters, {
        detached: true,
        cwd: '/',
        stdio: ['ignore', log.fd, log.fd],
      });
      await once(child, 'spawn');
      // A child that is dead already has its identity until it is waited for, which is not before the next turn.
      const { pid } = child;
      const identity = identifyProcess(pid!) ?? { pid: pid!, startTime: '0', bootId: '' };
      return new QemuProcess(identity, child);
    } catch (error) {
      const text = `${binary} can't be started: ${(error as Error).message}`;
      const remedy = 'install QEMU or set qemu.binary';
      throw (
        outOfDescriptors(error, text) ??
        new MigrationError('guest-failed', `${text}; ${remedy}`, { cause: error })
      );
    } finally {
      await log.close();
    }
  }

  /**
   * Starts QEMU through a socket of the service manager's, in a unit of its own that lives as long as QEMU does; see
   * deploy/systemd/run-guest. Throws guest-failed.
   */
  static async startInUnit(
    unitSocket: string,
    binary: string,
    parameters: readonly string[],
    logFile: string,
  ): Promise<QemuProcess> {
    const socket = connect({ path: unitSocket, allowHalfOpen: true });
    socket.once('error', () => undefined);
    try {
      await once(socket, 'connect');
      socket.end([logFile, binary, ...parameters].map((word) => `${word}\0`).join(''));
      const pid = await answeredPid(socket);
      const unit = new QemuProcess(identifyProcess(pid) ?? { pid, startTime: '0', bootId: '' }, null);
      // QEMU holds the other end.
      socket.resume().once('close', () => unit.#end('ended'));
      socket.unref();
      return unit;
    } catch (error) {
      socket.destroy();
      const text =
        `no QEMU can be started through ${unitSocket}: ${(error as Error).message}; ` +
        "'systemctl start vmferry-guest.socket', or remove qemu.unitSocket from the configuration";
      throw new MigrationError('guest-failed', text, { cause: error });
    }
  }

  /** One that runs already. */
  static found(identity: ProcessIdentity): QemuProcess {
    return new QemuProcess(identity, null);
  }

  get pid(): number {
    return this.identity.pid;
  }

  get alive(): boolean {
    return !this.#over && isAlive(this.identity);
  }

  /** What it has in RAM; null once it has ended. bytes */
  residentBytes(): number | null {
    try {
      const [, pages] = readFileSync(`/proc/${this.pid}/statm`, 'latin1').split(' ');
      return this.alive ? Number(pages) * PAGE_SIZE : null;
    } catch {
      return null;
    }
  }

  /** Watches for the end of a process that is about to end, for at most `ms`; whether it has ended. */
  async watch(ms: number): Promise<boolean> {
    const deadline = systemTimers.now() + ms;
    while (!this.#over) {
      // Of a child an event tells how it ended.
      if (!this.#child && !isAlive(this.identity)) this.#end('ended');
      else if (systemTimers.now() >= deadline) return false;
      else await Promise.race([this.ended, delay(systemTimers, LOOK_MS)]);
    }
    return true;
  }

  /** Ends it, by force if need be. Harmless when it is dead. Throws guest-failed if it can't be ended. */
  async terminate(): Promise<void> {
    if (!this.alive) return;
    // How a child ended is awaited, also one that was released.
    this.#child?.ref();
    this.#signal('SIGTERM');
    if (await this.watch(TERMINATION_MS)) return;
    this.#signal('SIGKILL');
    if (await this.watch(KILL_MS)) return;
    const text = `QEMU (pid ${this.pid}) does not end, it hangs in the kernel: look for a disk that does not answer`;
    throw new MigrationError('guest-failed', text);
  }

  /** Lets the agent end before QEMU does. */
  release(): void {
    this.#child?.unref();
  }

  #signal(signal: NodeJS.Signals): void {
    if (!this.alive) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** The first line that comes: the pid of what the connection has started. */
async function answeredPid(socket: Socket): Promise<number> {
  const lines = createInterface({ input: socket });
  const ended = once(lines, 'close').then(() => {
    throw new Error("it has ended without an answer: see 'journalctl -u vmferry-guest@*'");
  });
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
  ended.catch(() => undefined);
  lines.close();
  if (!/^[1-9]\d*$/.test(line)) throw new Error(`it has answered '${line.slice(0, 80)}' and not with a pid`);
  return Number(line);
}
