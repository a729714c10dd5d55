import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { systemTimers } from '../../shared/timers.js';

/** Tells a thread to end; anything else is a command of its own. */
export const END = 'end';
export type AgentCommand<Command> = Command | typeof END;

/** How long a thread may take for what it is at, before it is stopped in the middle. */
const END_TIMEOUT_MS = 5000;

export interface ThreadTraits {
  /** As debuggers and profilers show it. */
  readonly name: string;
  /** Heap in MiB; guest memory is not part of it. Bounds what a defect can take. */
  readonly heapMiB: number;
}

/** A worker thread from the agent's side: it takes commands, and reports. */
export class AgentThread<Command, Report> {
  readonly #worker: Worker;
  #end: Promise<void> | null = null;
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

  /** Resolves once it has taken the commands that were said before, and is no more. */
  async end(): Promise<void> {
    this.#end ??= this.#endOnce();
    await this.#end;
  }

  async #endOnce(): Promise<void> {
    if (this.#worker.threadId < 0) return;
    const exited = once(this.#worker, 'exit');
    this.#worker.postMessage(END);
    const cancel = systemTimers.after(END_TIMEOUT_MS, () => void this.#worker.terminate());
    await exited;
    cancel();
  }
}
