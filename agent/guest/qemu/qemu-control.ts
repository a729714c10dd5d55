import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import type { QemuProcess } from './process/qemu-process.js';
import type { RunDirectory } from './process/run-directory.js';
import type { QmpConnection } from './qmp/qmp-connection.js';
import { QmpConnectionError } from './qmp/qmp-errors.js';
import type { QmpEvent } from './qmp/qmp-message.js';

/** For the kernel to show that a QEMU whose monitor has closed has ended. ms */
const END_MS = 2_000;

/**
 * For the event that ends a step of QEMU's own migration, which moves a few MB within this host. One that waits for a
 * disk that does not answer must not keep a guest standing still for ever. ms
 */
export const STEP_MS = 60_000;

/** A running QEMU as one thing to talk to: whatever is under way when it ends fails with how it ended. */
export class QemuControl {
  readonly qmp: QmpConnection;
  readonly process: QemuProcess;
  /** Resolves with what happened when QEMU has ended or is no longer to be talked to, unless that was asked for. */
  readonly lost: Promise<MigrationError>;
  readonly #vm: string;
  readonly #directory: RunDirectory;
  #released = false;
  #failure: MigrationError | null = null;

  constructor(vm: string, directory: RunDirectory, process: QemuProcess, qmp: QmpConnection) {
    this.#vm = vm;
    this.#directory = directory;
    this.process = process;
    this.qmp = qmp;
    this.lost = new Promise((resolve) => {
      qmp.onClose((reason) => {
        if (this.#released) return;
        this.#explain(reason).then((failure) => {
          this.#failure = failure;
          resolve(failure);
        }, resolve);
      });
    });
  }

  /** What `lost` resolved with. */
  get failure(): MigrationError | null {
    return this.#failure;
  }

  /** Carries out a QMP command. Throws guest-failed with QEMU's reason. */
  execute(command: string, parameters: object = {}): Promise<unknown> {
    return this.guard(this.qmp.execute(command, parameters));
  }

  /** The next event that matches, for STEP_MS; to be called before the command that causes it, and awaited by guard(). */
  event(matches: (event: QmpEvent) => boolean, signal?: AbortSignal): Promise<QmpEvent> {
    return this.qmp.nextEvent(matches, { signal, timeoutMs: STEP_MS });
  }

  /** `operation`, which waits for QEMU; where QEMU ends meanwhile, it rejects with how. */
  async guard<Value>(operation: Promise<Value>): Promise<Value> {
    try {
      return await operation;
    } catch (error) {
      // That the connection has ended says less than why, which follows soon.
      if (error instanceof QmpConnectionError && !this.#released) throw await this.lost;
      throw toMigrationError(error, 'guest-failed');
    }
  }

  /** Asks QEMU to end. That it does is no loss then. */
  quit(): void {
    this.#released = true;
    this.qmp.execute('quit').catch(() => undefined);
  }

  /** Ends the connection and leaves QEMU as it is. */
  release(): void {
    this.#released = true;
    this.qmp.close();
    this.process.release();
  }

  async #explain(reason: QmpConnectionError): Promise<MigrationError> {
    const vm = `QEMU of VM ${this.#vm} (pid ${this.process.pid})`;
    if (!(await this.process.watch(END_MS))) {
      const text = this.process.alive
        ? `${vm} lives on as it was and can't be talked to: ${reason.message}; restart the agent to take it up`
        : `${vm} has ended, but for a thread that does not: look for a debugger, or a disk that does not answer`;
      return new MigrationError('guest-failed', text, { cause: reason });
    }
    const words = this.#directory.lastWords();
    const text = `${vm} ${await this.process.ended}${words === '' ? '' : `: ${words}`}`;
    return new MigrationError('guest-failed', text, { cause: reason });
  }
}
