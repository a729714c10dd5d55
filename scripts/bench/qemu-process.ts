import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { qemuArguments } from '../../agent/guest/qemu/process/command-line.js';
import { complaints } from '../../agent/guest/qemu/process/complaints.js';
import { connectStarting } from '../../agent/guest/qemu/qmp/connect-starting.js';
import type { QmpConnection } from '../../agent/guest/qemu/qmp/qmp-connection.js';
import type { QemuDefinition } from '../../shared/guest-definition.js';
import { isReady } from './bench-guest.js';
import type { RunFolders } from '../lab/run-folders.js';

export interface QemuSetting {
  readonly definition: QemuDefinition;
  readonly folders: RunFolders;
  /** Whether its RAM is its own, as QEMU's users have it, instead of a shared file, as vmferry needs it. */
  readonly privateRam: boolean;
  /** The command that starts a program on its host, before the program. */
  readonly launcher: readonly string[];
}

/** Between two looks at what QEMU gives no event for. ms */
const POLL_MS = 5;

/** Of the times in /proc. s^-1; it is 100 on all of Linux's architectures that QEMU's guests run on */
const CLOCK_TICKS = 100;

let started = 0;

/** A QEMU with the command line that an agent would give it, on its own: it migrates by itself. */
export class QemuProcess {
  readonly monitor: QmpConnection;
  readonly pid: number;
  readonly ramFile: string;
  readonly #child: ChildProcess;
  readonly #privateRam: boolean;
  readonly #console: string;

  /** Starts one; it runs at once, or when a migration has come in. */
  static async start(setting: QemuSetting, incoming: boolean): Promise<QemuProcess> {
    const { definition, folders, privateRam, launcher } = setting;
    started += 1;
    const name = `${definition.name}-${started}`;
    const ramFile = join(folders.memory, `${name}.ram`);
    const qmpSocket = join(folders.files, `${name}.qmp`);
    const consoleLog = join(folders.files, `${name}.log`);
    const parameters = qemuArguments({
      definition,
      accel: definition.accel === 'kvm' ? 'kvm' : 'tcg',
      ramFiles: [ramFile],
      qmpSocket,
      consoleSocket: join(folders.files, `${name}.console`),
      consoleLog,
      blockDevices: new Set(),
      // As an agent starts them.
      sandbox: true,
      incoming,
    })
      .filter((parameter) => parameter !== '-S')
      .map((parameter) =>
        privateRam && parameter.startsWith('memory-backend-file,')
          ? `memory-backend-ram,id=ram0,size=${definition.memory}`
          : parameter,
      );
    const [program, ...rest] = [...launcher, 'qemu-system-x86_64', ...parameters];
    const child = spawn(program!, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface(child.stderr).on('line', (said) => process.stderr.write(complaints(`${said}\n`)));
    await once(child, 'spawn');
    try {
      const ended = once(child, 'exit').then(([code]): never => {
        throw new Error(`QEMU ended with exit code ${code}`);
      });
      const monitor = await connectStarting(qmpSocket, ended);
      return new QemuProcess(child, monitor, ramFile, consoleLog, privateRam);
    } catch (error) {
      child.kill('SIGKILL');
      await rm(ramFile, { force: true });
      throw error;
    }
  }

  private constructor(
    child: ChildProcess,
    monitor: QmpConnection,
    ramFile: string,
    console: string,
    privateRam: boolean,
  ) {
    this.#child = child;
    this.pid = child.pid!;
    this.monitor = monitor;
    this.ramFile = ramFile;
    this.#console = console;
    this.#privateRam = privateRam;
  }

  /** All that its guest printed while it ran here. */
  async printed(): Promise<string> {
    return await readFile(this.#console, 'latin1');
  }

  /** Resolves once its guest's memory is filled. */
  async ready(): Promise<void> {
    while (!isReady(await this.printed())) await setTimeout(POLL_MS);
  }

  /** Resolves with the time of its next event of that name, in Unix ms. */
  async timeOf(event: string): Promise<number> {
    return (await this.monitor.nextEvent(({ name }) => name === event)).at;
  }

  /** Processor time that it has taken, guest included. ms; in steps of 10 */
  async processorMs(): Promise<number> {
    // Fields follow the program's name in parentheses; see proc(5): utime and stime are the 14th and 15th.
    const stat = await readFile(`/proc/${this.pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS;
  }

  /** What of its guest's memory is in use; with private RAM what QEMU itself has in use besides. bytes */
  async populatedBytes(): Promise<number> {
    // stat(2) counts blocks of 512 bytes whatever the file system's are.
    if (!this.#privateRam) return (await stat(this.ramFile)).blocks * 512;
    const status = await readFile(`/proc/${this.pid}/status`, 'latin1');
    return Number(/^RssAnon:\s*(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
  }

  /** What a network device of its host has sent, as far as there is one of that name. bytes */
  async sentBytes(device: string): Promise<number | null> {
    const devices = await readFile(`/proc/${this.pid}/net/dev`, 'latin1');
    const line = devices.split('\n').find((text) => text.trimStart().startsWith(`${device}:`));
    // After the name come eight figures of what was received, then those of what was sent, bytes first.
    const figures = line
      ?.slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/);
    return figures === undefined ? null : Number(figures[8]);
  }

  async end(): Promise<void> {
    this.monitor.close();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
    await rm(this.ramFile, { force: true });
  }
}
