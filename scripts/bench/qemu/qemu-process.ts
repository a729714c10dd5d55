import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { qemuArguments } from '../../../agent/guest/qemu/process/command-line.js';
import { QmpConnection } from '../../../agent/guest/qemu/qmp/qmp-connection.js';
import { QmpConnectionError } from '../../../agent/guest/qemu/qmp/qmp-errors.js';
import type { QemuDefinition } from '../../../shared/guest-definition.js';

export interface QemuSetting {
  readonly definition: QemuDefinition;
  /** For its sockets and its console. */
  readonly directory: string;
  /** For its RAM. */
  readonly memoryDirectory: string;
  /** Whether its RAM is its own, as QEMU's users have it, instead of a shared file, as vmferry needs it. */
  readonly privateRam: boolean;
}

/** Between two looks at what QEMU gives no event for. ms */
const POLL_MS = 5;

let started = 0;

/** A QEMU with the command line that an agent would give it, on its own: it migrates by itself. */
export class QemuProcess {
  readonly monitor: QmpConnection;
  readonly #child: ChildProcess;
  readonly #ramFile: string;
  readonly #console: string;

  /** Starts one; it runs at once, or when a migration has come in. */
  static async start(
    { definition, directory, memoryDirectory, privateRam }: QemuSetting,
    incoming: boolean,
  ): Promise<QemuProcess> {
    started += 1;
    const name = `${definition.name}-${started}`;
    const ramFile = join(memoryDirectory, `${name}.ram`);
    const qmpSocket = join(directory, `${name}.qmp`);
    const consoleLog = join(directory, `${name}.log`);
    const parameters = qemuArguments({
      definition,
      accel: definition.accel === 'kvm' ? 'kvm' : 'tcg',
      ramFiles: [ramFile],
      qmpSocket,
      consoleSocket: join(directory, `${name}.console`),
      consoleLog,
      blockDevices: new Set(),
      incoming,
    })
      .filter((parameter) => parameter !== '-S')
      .map((parameter) =>
        privateRam && parameter.startsWith('memory-backend-file,')
          ? `memory-backend-ram,id=ram0,size=${definition.memory}`
          : parameter,
      );
    const child = spawn('qemu-system-x86_64', parameters, { stdio: ['ignore', 'ignore', 'inherit'] });
    try {
      return new QemuProcess(child, await connected(child, qmpSocket), ramFile, consoleLog);
    } catch (error) {
      child.kill('SIGKILL');
      await rm(ramFile, { force: true });
      throw error;
    }
  }

  private constructor(child: ChildProcess, monitor: QmpConnection, ramFile: string, console: string) {
    this.#child = child;
    this.monitor = monitor;
    this.#ramFile = ramFile;
    this.#console = console;
  }

  async printed(text: RegExp): Promise<void> {
    while (!text.test(await readFile(this.#console, 'utf8'))) await setTimeout(POLL_MS);
  }

  /** Resolves with the time of its next event of that name, in Unix ms. */
  async timeOf(event: string): Promise<number> {
    return (await this.monitor.nextEvent(({ name }) => name === event)).at;
  }

  async end(): Promise<void> {
    this.monitor.close();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
    await rm(this.#ramFile, { force: true });
  }
}

/** Its monitor, once it listens. */
async function connected(child: ChildProcess, socket: string): Promise<QmpConnection> {
  while (child.exitCode === null) {
    try {
      return await QmpConnection.connect(socket);
    } catch (error) {
      if (!(error instanceof QmpConnectionError) || error.end !== 'absent') throw error;
      await setTimeout(POLL_MS);
    }
  }
  throw new Error(`QEMU ended with exit code ${child.exitCode}`);
}
