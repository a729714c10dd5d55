import { Worker } from 'node:worker_threads';
import { MigrationError, outOfDescriptors } from '../../../shared/errors.js';
import {
  CONTROL,
  COUNTERS,
  type Answer,
  type Command,
  type MachineCondition,
  type Report,
  type Request,
  type WorkerData,
} from './worker-protocol.js';

/** Heap of the worker thread in MiB; the guest's RAM is not part of it. Bounds what a defect can take. */
const WORKER_HEAP_MIB = 64;

export interface MachineWorkerEvents {
  output(position: number, data: Uint8Array): void;
  stopped(condition: MachineCondition): void;
  /** The thread has ended without being asked to; no command succeeds any more. */
  failed(error: MigrationError): void;
}

interface Pending {
  resolve: (answer: Answer) => void;
  reject: (error: MigrationError) => void;
}

/** The agent's end of a machine's thread: commands with answers, events, and its end. */
export class MachineWorker {
  readonly #name: string;
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #counters: BigInt64Array;
  readonly #events: MachineWorkerEvents;
  readonly #pending = new Map<number, Pending>();
  readonly #started: Promise<void>;
  #start: Pending | undefined;
  #lastId = 0;
  #end: MigrationError | undefined;

  /** Starts the thread. `name` is the guest's, for messages. */
  constructor(name: string, data: Omit<WorkerData, 'control' | 'counters'>, events: MachineWorkerEvents) {
    this.#name = name;
    this.#events = events;
    const control = new SharedArrayBuffer(4 * CONTROL.length);
    const counters = new SharedArrayBuffer(8 * COUNTERS.length);
    this.#control = new Int32Array(control);
    this.#counters = new BigInt64Array(counters);
    this.#started = new Promise((resolve, reject) => {
      this.#start = { resolve: () => resolve(), reject };
    });
    // Its own handler: whoever never awaits started() is told by the failed event.
    this.#started.catch(() => undefined);
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { ...data, control, counters } satisfies WorkerData,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MIB },
      name: `guest ${name}`,
      execArgv: [],
    });
    this.#worker.on('message', (report: Report) => this.#receive(report));
    this.#worker.on('error', (error: Error) => this.#fail(error));
    this.#worker.on('exit', (code) => this.#fail(new Error(`its thread ended with code ${code}`)));
  }

  /** Resolves when the thread serves commands; rejects with guest-failed. */
  started(): Promise<void> {
    return this.#started;
  }

  /** Retired instructions as of the last safepoint. */
  retired(): number {
    return Number(Atomics.load(this.#counters, COUNTERS.retired));
  }

  /** Carries out a command at the next safepoint. Rejects with guest-failed, or with what the command is refused for. */
  command(command: Command): Promise<Answer> {
    if (this.#end) return Promise.reject(this.#end);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ ...command, id } satisfies Request);
      this.#wake();
    });
  }

  /** Ends the thread, whatever it does. Commands under way reject with guest-failed. */
  async terminate(): Promise<void> {
    this.#close(new MigrationError('guest-failed', `guest ${this.#name} is destroyed`));
    await this.#worker.terminate();
  }

  #wake(): void {
    Atomics.add(this.#control, CONTROL.wake, 1);
    Atomics.notify(this.#control, CONTROL.wake);
  }

  #receive(report: Report): void {
    if (this.#end) return;
    switch (report.type) {
      case 'ready':
        this.#start?.resolve({ condition: { running: false, exitCode: -1 } });
        return;
      case 'done':
        this.#take(report.id)?.resolve(report.answer);
        return;
      case 'refused':
        this.#take(report.id)?.reject(
          new MigrationError(report.code, `guest ${this.#name}: ${report.message}`),
        );
        return;
      case 'output':
        this.#events.output(report.position, report.data);
        Atomics.store(this.#counters, COUNTERS.consoleTaken, BigInt(report.position + report.data.length));
        this.#wake();
        return;
      case 'stopped':
        this.#events.stopped(report.condition);
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #fail(cause: Error): void {
    if (this.#end) return;
    const error =
      outOfDescriptors(cause, `guest ${this.#name} can't be started: ${cause.message}`) ??
      new MigrationError(
        'guest-failed',
        `guest ${this.#name} has failed: ${cause.message}; its state is lost, start it anew`,
        { cause },
      );
    this.#close(error);
    this.#events.failed(error);
  }

  #close(error: MigrationError): void {
    if (this.#end) return;
    this.#end = error;
    this.#start?.reject(error);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
