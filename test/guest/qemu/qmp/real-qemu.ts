import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { QmpConnection } from '../../../../agent/guest/qemu/qmp/qmp-connection.js';

export const QEMU = 'qemu-system-x86_64';

/** A QEMU of a test, stopped before its first instruction, with a directory of its own. */
export class RealQemu {
  readonly path: string;
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  /** `parameters` come after '-S -nodefaults -display none'; they may depend on the directory. */
  static async start(parameters: (directory: string) => string[]): Promise<RealQemu> {
    const directory = await mkdtemp(join(tmpdir(), 'vmferry-qemu-'));
    const qemu = new RealQemu(directory, parameters(directory));
    try {
      await qemu.#listening();
      return qemu;
    } catch (error) {
      await qemu.stop();
      throw error;
    }
  }

  private constructor(directory: string, parameters: string[]) {
    this.#directory = directory;
    this.path = join(directory, 'qmp');
    const monitor = ['-qmp', `unix:${this.path},server=on,wait=off`];
    // The human monitor's prompt on a pipe says that all sockets are there.
    const ready = ['-chardev', 'stdio,id=prompt', '-mon', 'chardev=prompt,mode=readline'];
    const fixed = ['-S', '-nodefaults', '-no-user-config', '-display', 'none', ...monitor, ...ready];
    this.#child = spawn(QEMU, [...fixed, ...parameters], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#exit = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.on('error', () => undefined);
  }

  get pid(): number {
    if (this.#child.pid === undefined)
      throw new Error(`${QEMU} is not installed: apt-get install qemu-system-x86`);
    return this.#child.pid;
  }

  connect(): Promise<QmpConnection> {
    return QmpConnection.connect(this.path);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.kill();
    await this.#exit;
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #listening(): Promise<void> {
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr || this.#child.pid === undefined) {
      throw new Error(`${QEMU} is not installed: apt-get install qemu-system-x86`);
    }
    let errors = '';
    stderr.on('data', (text: Buffer) => (errors += text.toString()));
    const prompt = once(createInterface({ input: stdout }), 'line');
    const ended = this.#exit.then(() => {
      throw new Error(`${QEMU} ended: ${errors}`);
    });
    ended.catch(() => undefined);
    await Promise.race([prompt, ended]);
    stdout.resume();
  }
}
