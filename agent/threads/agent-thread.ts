import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MigrationError, toMigrationError } from '../../shared/errors.js';

export interface ThreadTraits {
  /** As debuggers and profilers show it. */
  readonly name: string;
  /** Heap in MiB; guest memory is not part of it. Bounds what a defect can take. */
  readonly heapMiB: number;
}

/** A worker thread from the agent's side: it takes commands, and reports. */
export class AgentThread<Command, Report> {
  readonly #worker: Worker;
  /** Takes what it reports. */
  hear: (report: Report) => void = () => undefined;
  /** Is told that it has failed or ended; nothing more is heard of it. */
  broken: (error: MigrationError) => void = () => undefined;

  /** `onExit`: it serves nobody any more; may be called again. */
  constructor(program: URL, { name, heapMiB }: ThreadTraits, onExit: () => void) {
    this.#worker = new Worker(program, {
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
      name,
      execArgv: [],
    });
    // An idle thread keeps no agent alive.
    this.#worker.unref();
    this.#worker.on('message', (report: Report) => this.hear(report));
    this.#worker.on('error', (error) => {
      onExit();
      this.broken(toMigrationError(error));
    });
    this.#worker.on('exit', () => {
      onExit();
      this.broken(new MigrationError('internal', `the thread '${name}' has ended`));
    });
  }

  /** `passed`: what of the command is the thread's from now on, and is not copied. */
  say(command: Command, passed: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(command, passed);
  }

  async end(): Promise<void> {
    const exited = once(this.#worker, 'exit');
    void this.#worker.terminate();
    await exited;
  }
}
