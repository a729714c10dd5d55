import {
  appendFileSync,
  closeSync,
  fstatSync,
  openSync,
  readSync,
  type Stats,
  unwatchFile,
  watch,
  watchFile,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { MigrationError } from '../../../shared/errors.js';
import { systemTimers, type Timers } from '../../../shared/timers.js';
import { punchHole, seekData } from '../../system/system-calls.js';
import type { GuestConsole } from '../hosted-guest.js';
import { CONSOLE_TAIL_BYTES } from './qemu-state.js';

/** Bytes that one read returns at most. */
const READ_BYTES = 64 * 1024;
/** Typed bytes that wait in the agent for a guest to read them; the kernel's socket buffers hold as many again. */
const MAX_WAITING_INPUT = 64 * 1024;
/** Between two looks at the log where the kernel gives no notice. ms */
const LOOK_MS = 100;
/** What the log may take of the disk, which a guest could fill otherwise; of more than that the end is kept. bytes */
const MAX_LOG_BYTES = 16 * 2 ** 20;
const KEPT_LOG_BYTES = 4 * 2 ** 20;
/** Between two looks at what the log takes: more than a serial port prints of MAX_LOG_BYTES meanwhile. ms */
const TRIM_MS = 5_000;
/** Blocks of any file system are divisors of that. bytes */
const HOLE_BYTES = 2 ** 20;

/**
 * The serial port of a QEMU guest. QEMU writes what the guest prints to a file, whoever listens; byte n of the transcript
 * is byte n - base of that file. The beginning of a long one becomes a hole: QEMU appends. Input goes through QEMU's socket for the port, connected to when it is first needed.
 */
export class QemuConsole implements GuestConsole {
  readonly #vm: string;
  readonly #logFile: string;
  readonly #socketPath: string;
  readonly #log: number;
  readonly #listeners = new Set<() => void>();
  readonly #timers: Timers;
  #base: number;
  /** Where in the log what is kept begins. */
  #kept: number;
  #stopTrimming: () => void;
  #unwatch: (() => void) | null = null;
  #socket: Socket | null = null;
  #closed = false;
  /** The end as it was when the log was closed. */
  #lastEnd = 0;

  /** `base`: position of the first byte of the log. */
  constructor(
    vm: string,
    files: { consoleLog: string; consoleSocket: string },
    base: number,
    timers: Timers = systemTimers,
  ) {
    this.#vm = vm;
    this.#logFile = files.consoleLog;
    this.#socketPath = files.consoleSocket;
    this.#base = base;
    this.#timers = timers;
    this.#log = openSync(files.consoleLog, 'a+', 0o600);
    // An agent before this one may have trimmed it.
    this.#kept = seekData(this.#log, 0) ?? 0;
    this.#stopTrimming = timers.after(TRIM_MS, () => this.#trim());
  }

  get start(): number {
    return this.#base + this.#kept;
  }

  get end(): number {
    return this.#closed ? this.#lastEnd : this.#base + fstatSync(this.#log).size;
  }

  /** From `position` on, as much as one read returns. */
  read(position: number): Uint8Array {
    if (this.#closed) return new Uint8Array();
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(this.end - position, READ_BYTES)));
    const count = readSync(this.#log, bytes, 0, bytes.length, position - this.#base);
    return bytes.subarray(0, count);
  }

  /** The end of the transcript that moves with the guest. */
  tail(): Uint8Array {
    return this.read(Math.max(this.start, this.end - CONSOLE_TAIL_BYTES));
  }

  /** Goes on from a transcript that ends at `end` with `tail`. For a guest that has not printed anything yet. */
  load(end: number, tail: Uint8Array): void {
    appendFileSync(this.#log, tail);
    this.#base = end - tail.length;
    this.#notify();
  }

  onOutput(listener: () => void): () => void {
    const receiver = () => listener();
    this.#listeners.add(receiver);
    this.#unwatch ??= this.#watch();
    return () => {
      this.#listeners.delete(receiver);
      if (this.#listeners.size > 0) return;
      this.#unwatch?.();
      this.#unwatch = null;
    };
  }

  async input(data: Uint8Array): Promise<void> {
    if (this.#closed) throw this.#refusal('it is gone');
    const socket = (this.#socket ??= this.#connect());
    if (socket.writableLength + data.length > MAX_WAITING_INPUT) {
      const text = `VM ${this.#vm} does not read what is typed: ${socket.writableLength} bytes wait; type less or later`;
      throw new MigrationError('limit-exceeded', text);
    }
    if (socket.connecting) {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('close', () =>
          reject(this.#refusal('QEMU does not take input: is another program connected?')),
        );
      });
    }
    socket.write(data);
  }

  /** Lets go of the files; what was printed can't be read any more. Harmless when repeated. */
  close(): void {
    if (this.#closed) return;
    this.#lastEnd = this.end;
    this.#closed = true;
    this.#stopTrimming();
    this.#unwatch?.();
    this.#unwatch = null;
    this.#listeners.clear();
    this.#socket?.destroy();
    closeSync(this.#log);
  }

  #trim(): void {
    const { size } = fstatSync(this.#log);
    if (size - this.#kept > MAX_LOG_BYTES) {
      const end = Math.floor((size - KEPT_LOG_BYTES) / HOLE_BYTES) * HOLE_BYTES;
      try {
        punchHole(this.#log, 0, end);
        this.#kept = end;
      } catch {
        // A file system without holes keeps all of it.
        return;
      }
    }
    this.#stopTrimming = this.#timers.after(TRIM_MS, () => this.#trim());
  }

  #connect(): Socket {
    const socket = connect(this.#socketPath);
    // What the guest prints comes from the log; here it must be taken, or the guest would wait for it to be.
    socket.resume();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = null;
    });
    return socket;
  }

  #refusal(reason: string): MigrationError {
    return new MigrationError('guest-failed', `the console of VM ${this.#vm} takes no input: ${reason}`);
  }

  /** By the kernel's notices; where it gives none (its limit of watches is reached), by looking. */
  #watch(): () => void {
    const notify = () => this.#notify();
    const look = () => {
      const compare = (now: Stats, before: Stats) => now.size !== before.size && notify();
      watchFile(this.#logFile, { interval: LOOK_MS }, compare);
      return () => unwatchFile(this.#logFile, compare);
    };
    try {
      let stop = () => watcher.close();
      const watcher = watch(this.#logFile, notify);
      watcher.on('error', () => {
        watcher.close();
        stop = look();
      });
      return () => stop();
    } catch {
      return look();
    }
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** The console of a guest whose serial port is none of ours. */
export const NO_CONSOLE: GuestConsole = {
  start: 0,
  end: 0,
  read: () => new Uint8Array(),
  onOutput: () => () => undefined,
  input: () =>
    Promise.reject(new MigrationError('wrong-state', 'the VM has no serial port that this agent reads')),
};
