import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { toMigrationError } from '../../../shared/errors.js';
import { CONSOLE_TAIL_BYTES } from './console-tail.js';
import { Machine } from './machine.js';
import { Pacer } from './pacer.js';
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

/**
 * The thread that runs one embedded machine. It never returns to its event loop: it runs the machine in batches,
 * looks for messages between them (a safepoint: no instruction is under way), and sleeps where there is nothing to do.
 */

/**
 * Steps between two safepoints. They follow what the guest does, so that a pause takes a fraction of a millisecond also
 * where each step is slow (a guest that touches its memory for the first time makes the host find pages for it).
 */
const MIN_BATCH_STEPS = 1024;
const MAX_BATCH_STEPS = 16_384;
const MAX_BATCH_MS = 0.5;

/** Output that may be on its way to the agent; beyond it the machine waits, so that none is lost or piles up. */
const MAX_OUTPUT_IN_FLIGHT_BYTES = CONSOLE_TAIL_BYTES / 2;

/** Longest that Atomics.wait is given, in ms; a wait for longer starts over. */
const MAX_WAIT_MS = 60_000;

class MachineThread {
  readonly #port: MessagePort;
  readonly #machine: Machine;
  readonly #control: Int32Array;
  readonly #counters: BigInt64Array;
  readonly #writeMaps: [Uint8Array, Uint8Array];
  readonly #pacer = new Pacer(() => performance.now());
  #activeMap = 0;
  #logging = false;
  #running = false;
  #outputSent = 0;
  #batchSteps = MAX_BATCH_STEPS;

  constructor(port: MessagePort, data: WorkerData) {
    this.#port = port;
    this.#machine = new Machine(data.ram, data.stopAt ?? Infinity);
    this.#machine.hart.pc = data.entry | 0;
    this.#control = new Int32Array(data.control);
    this.#counters = new BigInt64Array(data.counters);
    this.#writeMaps = [
      new Uint8Array(data.writeMaps, 0, data.mapBytes),
      new Uint8Array(data.writeMaps, data.mapBytes, data.mapBytes),
    ];
  }

  run(): never {
    this.#report({ type: 'ready' });
    for (;;) {
      // Read before the messages: one that comes after them changes it, and the wait below returns at once.
      const wake = Atomics.load(this.#control, CONTROL.wake);
      this.#serve();
      if (!this.#running || this.#outputInFlight() > MAX_OUTPUT_IN_FLIGHT_BYTES) {
        Atomics.wait(this.#control, CONTROL.wake, wake);
        continue;
      }
      this.#runBatch(wake);
    }
  }

  #runBatch(wake: number): void {
    const machine = this.#machine;
    const start = performance.now();
    const stop = machine.run(this.#batchSteps);
    const slow = performance.now() - start > MAX_BATCH_MS;
    this.#batchSteps = slow
      ? Math.max(this.#batchSteps / 2, MIN_BATCH_STEPS)
      : Math.min(this.#batchSteps * 2, MAX_BATCH_STEPS);
    this.#publish();
    switch (stop) {
      case 'steps':
        return;
      case 'waiting': {
        const guestMs = machine.guestSeconds() * 1000;
        const wait = this.#pacer.waitMs(guestMs, guestMs + machine.secondsToTimer() * 1000);
        if (wait > 0) {
          const woken = Atomics.wait(this.#control, CONTROL.wake, wake, Math.min(wait, MAX_WAIT_MS));
          if (woken !== 'timed-out' || wait > MAX_WAIT_MS) return;
        }
        machine.skipToTimer();
        return;
      }
      case 'stopped':
      case 'finished':
        this.#running = false;
        this.#report({ type: 'stopped', condition: this.#condition() });
    }
  }

  /** Sends new output, tells how far the machine is. */
  #publish(): void {
    const { console, hart } = this.#machine;
    Atomics.store(this.#counters, COUNTERS.retired, BigInt(hart.retired));
    if (console.end > this.#outputSent) {
      const position = this.#outputSent;
      this.#report({ type: 'output', position, data: console.read(position) });
      this.#outputSent = console.end;
    }
  }

  #outputInFlight(): number {
    return this.#outputSent - Number(Atomics.load(this.#counters, COUNTERS.consoleTaken));
  }

  #serve(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Request } | undefined;
      if (!received) return;
      const { id, ...command } = received.message;
      try {
        this.#report({ type: 'done', id, answer: this.#execute(command) });
      } catch (error) {
        const { code, message } = toMigrationError(error, 'guest-failed');
        this.#report({ type: 'refused', id, code, message });
      }
    }
  }

  #execute(command: Command): Answer {
    const machine = this.#machine;
    switch (command.type) {
      case 'pause':
        this.#running = false;
        break;
      case 'resume':
        if (machine.exitCode < 0 && machine.hart.retired < machine.stopAt && !this.#running) {
          this.#running = true;
          this.#pacer.restart();
        }
        break;
      case 'start-log':
        for (const map of this.#writeMaps) map.fill(0);
        this.#activeMap = 0;
        this.#logging = true;
        machine.hart.logWrites(this.#writeMaps[0]);
        break;
      case 'stop-log':
        this.#logging = false;
        machine.hart.logWrites(null);
        break;
      case 'harvest': {
        const map = this.#activeMap;
        this.#activeMap = 1 - map;
        if (this.#logging) machine.hart.logWrites(this.#writeMaps[this.#activeMap as 0 | 1]);
        return { condition: this.#condition(), map };
      }
      case 'input':
        machine.input(command.data);
        break;
      case 'save':
        return { condition: this.#condition(), state: machine.save() };
      case 'load':
        machine.load(command.state);
        this.#outputSent = machine.console.end;
        Atomics.store(this.#counters, COUNTERS.retired, BigInt(machine.hart.retired));
        Atomics.store(this.#counters, COUNTERS.consoleTaken, BigInt(machine.console.end));
        return {
          condition: this.#condition(),
          console: { end: machine.console.end, tail: machine.console.read(0) },
        };
      case 'registers':
        return {
          condition: this.#condition(),
          registers: {
            pc: machine.hart.pc >>> 0,
            x: Array.from(machine.hart.registers.subarray(0, 32), (value) => value >>> 0),
          },
        };
    }
    return { condition: this.#condition() };
  }

  #condition(): MachineCondition {
    return { running: this.#running, exitCode: this.#machine.exitCode };
  }

  #report(report: Report): void {
    this.#port.postMessage(report);
  }
}

if (!parentPort) throw new Error('this module is the worker thread of an embedded machine');
new MachineThread(parentPort, workerData as WorkerData).run();
