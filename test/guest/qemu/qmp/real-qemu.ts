import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorArguments } from '../../../../agent/guest/qemu/process/command-line.js';
import { complaints } from '../../../../agent/guest/qemu/process/complaints.js';
import { connectStarting } from '../../../../agent/guest/qemu/qmp/connect-starting.js';
import type { QmpConnection } from '../../../../agent/guest/qemu/qmp/qmp-connection.js';

export const QEMU = 'qemu-system-x86_64';

/** A QEMU of a test, stopped before its first instruction, with a directory of its own. */
export class RealQemu {
  readonly path: string;
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  #said = '';

  /** `parameters` come after '-S -nodefaults -display none'; they may depend on the directory. */
  static async start(parameters: (directory: string) => string[]): Promise<RealQemu> {
    const directory = await mkdtemp(join(tmpdir(), 'vmferry-qemu-'));
    return new RealQemu(directory, parameters(directory));
  }

  private constructor(directory: string, parameters: string[]) {
    this.#directory = directory;
    this.path = join(directory, 'qmp');
    const fixed = [
      '-S',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      ...monitorArguments(this.path),
    ];
    this.#child = spawn(QEMU, [...fixed, ...parameters], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr!.on('data', (text: Buffer) => (this.#said += text.toString()));
    this.#exit = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.on('error', () => undefined);
  }

  get pid(): number {
    if (this.#child.pid === undefined)
      throw new Error(`${QEMU} is not installed: apt-get install qemu-system-x86`);
    return this.#child.pid;
  }

  /** Connects to it, also while it starts. */
  async connect(): Promise<QmpConnection> {
    const ended = this.#exit.then((): never => {
      throw new Error(`${QEMU} ${this.pid} ended: ${complaints(this.#said)}`);
    });
    return await connectStarting(this.path, ended);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.kill();
    await this.#exit;
    await rm(this.#directory, { recursive: true, force: true });
  }
}
