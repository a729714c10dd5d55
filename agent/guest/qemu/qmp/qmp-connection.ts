import { connect, type Socket } from 'node:net';
import { toMigrationError } from '../../../../shared/errors.js';
import { systemTimers, type Timers } from '../../../../shared/timers.js';
import { QmpConnectionError, QmpError, QmpTimeoutError } from './qmp-errors.js';
import { QmpLines } from './qmp-lines.js';
import { parseQmpMessage, type QemuVersion, type QmpEvent, type QmpMessage } from './qmp-message.js';
import { QmpWaiter, type WaitLimits } from './qmp-waiter.js';

/** From connecting to the end of the negotiation. ms */
const CONNECT_TIMEOUT_MS = 10_000;

/** Longest wait for a reply, where the caller gives none: commands run in QEMU's main loop, which disks can hold up. ms */
const REPLY_TIMEOUT_MS = 30_000;

export interface QmpConnectOptions {
  timers?: Timers;
  /** For the greeting and the negotiation. ms */
  timeoutMs?: number;
}

interface Command {
  readonly name: string;
  readonly reply: QmpWaiter<unknown>;
}

interface AwaitedEvent {
  readonly matches: (event: QmpEvent) => boolean;
  readonly arrival: QmpWaiter<QmpEvent>;
}

/**
 * A connection to the monitor of a QEMU, after the negotiation. Many commands can be under way at once. What QEMU says is
 * heard in the order in which it says it: an event that precedes a reply reaches its listeners before the reply
 * resolves. Failures are QmpErrors (refused), QmpTimeoutErrors and QmpConnectionErrors.
 */
export class QmpConnection {
  readonly #path: string;
  readonly #socket: Socket;
  readonly #timers: Timers;
  readonly #lines = new QmpLines();
  readonly #commands = new Map<number, Command>();
  readonly #awaited = new Set<AwaitedEvent>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #closeListeners = new Set<(reason: QmpConnectionError) => void>();
  readonly #greeting: QmpWaiter<QemuVersion>;
  #version: QemuVersion | undefined;
  #connected = false;
  #lastId = 0;
  #end: QmpConnectionError | null = null;

  /**
   * Connects to the unix socket at `path` and negotiates. QEMU serves one client of a socket at a time: where another
   * is connected it does not greet. Rejects with QmpConnectionError ('absent': worth another try while QEMU starts).
   */
  static async connect(path: string, options: QmpConnectOptions = {}): Promise<QmpConnection> {
    const { timers = systemTimers, timeoutMs = CONNECT_TIMEOUT_MS } = options;
    const deadline = timers.now() + timeoutMs;
    const connection = new QmpConnection(path, timers, timeoutMs);
    try {
      await connection.#greeting.promise;
      await connection.execute('qmp_capabilities', {}, { timeoutMs: Math.max(1, deadline - timers.now()) });
      return connection;
    } catch (error) {
      connection.close();
      if (!(error instanceof QmpTimeoutError)) throw error;
      const reason = `${path} was not ready within ${timeoutMs} ms: another client is connected to it, or QEMU hangs`;
      throw new QmpConnectionError('silent', reason, { cause: error });
    }
  }

  private constructor(path: string, timers: Timers, timeoutMs: number) {
    this.#path = path;
    this.#timers = timers;
    this.#greeting = new QmpWaiter<QemuVersion>(timers, 'greeting', { timeoutMs }, () => undefined);
    this.#socket = connect(path);
    this.#socket.on('connect', () => (this.#connected = true));
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error) => this.#finish(this.#socketError(error)));
    this.#socket.on('close', () => {
      this.#finish(new QmpConnectionError('lost', `QEMU closed its monitor at ${path}: it has ended`));
    });
  }

  /** Of the QEMU that answers. */
  get version(): QemuVersion {
    if (!this.#version) throw new QmpConnectionError('silent', `${this.#path} has not greeted`);
    return this.#version;
  }

  /** Why the connection has ended; null while it is open. */
  get closed(): QmpConnectionError | null {
    return this.#end;
  }

  /**
   * Carries out a command; resolves with what it returns. The time limit is 30 s unless another is given; giving up does
   * not undo what QEMU may have done or may do yet.
   */
  execute(name: string, parameters: object = {}, limits: WaitLimits = {}): Promise<unknown> {
    const { timeoutMs = REPLY_TIMEOUT_MS, signal } = limits;
    const what = `reply to ${name}`;
    const reply = new QmpWaiter<unknown>(this.#timers, what, { timeoutMs, signal }, () => undefined);
    if (signal?.aborted) reply.reject(signal.reason);
    else if (this.#end) reply.reject(this.#end);
    else {
      this.#lastId += 1;
      // It stays until QEMU has answered, also when nobody waits any more: its id is no unknown one.
      this.#commands.set(this.#lastId, { name, reply });
      this.#socket.write(`${JSON.stringify({ execute: name, arguments: parameters, id: this.#lastId })}\r\n`);
    }
    return reply.promise;
  }

  /** Calls `listener` with every event from now on; returns how to stop that. One that throws ends the connection. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    // a wrapper, so that one function added twice is removed once
    const receiver = (event: QmpEvent) => listener(event);
    this.#listeners.add(receiver);
    return () => {
      this.#listeners.delete(receiver);
    };
  }

  /** The next event that `matches`. To be called before the command that causes it: no event is kept for later. */
  nextEvent(matches: (event: QmpEvent) => boolean, limits: WaitLimits = {}): Promise<QmpEvent> {
    const awaited: AwaitedEvent = {
      matches,
      arrival: new QmpWaiter(this.#timers, 'event of the kind that was awaited', limits, () =>
        this.#awaited.delete(awaited),
      ),
    };
    if (limits.signal?.aborted) awaited.arrival.reject(limits.signal.reason);
    else if (this.#end) awaited.arrival.reject(this.#end);
    else this.#awaited.add(awaited);
    return awaited.arrival.promise;
  }

  /** Calls `listener` once when the connection has ended, also when that was before. Returns how to stop that. */
  onClose(listener: (reason: QmpConnectionError) => void): () => void {
    const end = this.#end;
    let wanted = true;
    const receiver = (reason: QmpConnectionError) => {
      if (wanted) listener(reason);
    };
    if (end) queueMicrotask(() => receiver(end));
    else this.#closeListeners.add(receiver);
    return () => {
      wanted = false;
      this.#closeListeners.delete(receiver);
    };
  }

  /** Ends the connection, not QEMU. What is under way rejects. Harmless when repeated. */
  close(): void {
    this.#finish(new QmpConnectionError('closed', `the connection to ${this.#path} was closed by this side`));
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const line of this.#lines.push(chunk)) {
        // a listener may have closed it
        if (this.#end) return;
        this.#take(parseQmpMessage(line, Date.now));
      }
    } catch (error) {
      const { message } = toMigrationError(error);
      this.#finish(
        new QmpConnectionError('protocol', `${this.#path} is no longer usable: ${message}`, { cause: error }),
      );
    }
  }

  #take(message: QmpMessage): void {
    if (message.type === 'greeting') {
      if (this.#version) throw new QmpConnectionError('protocol', 'it greeted twice');
      this.#version = message.version;
      this.#greeting.resolve(message.version);
      return;
    }
    if (!this.#version) throw new QmpConnectionError('protocol', 'it spoke before it greeted');
    if (message.type === 'event') {
      this.#announce(message.event);
      return;
    }
    const command = this.#commands.get(message.id);
    if (!command) {
      throw new QmpConnectionError(
        'protocol',
        `it answered command ${message.id}, which waits for no answer`,
      );
    }
    this.#commands.delete(message.id);
    if (message.type === 'reply') command.reply.resolve(message.value);
    else command.reply.reject(new QmpError(command.name, message.class, message.desc));
  }

  #announce(event: QmpEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
    for (const { matches, arrival } of [...this.#awaited]) if (matches(event)) arrival.resolve(event);
  }

  #socketError(error: NodeJS.ErrnoException): QmpConnectionError {
    const [end, what] = this.#connected
      ? (['lost', `the connection to ${this.#path} broke`] as const)
      : (['absent', `no QEMU listens at ${this.#path}`] as const);
    return new QmpConnectionError(end, `${what}: ${error.message}`, { cause: error });
  }

  #finish(reason: QmpConnectionError): void {
    if (this.#end) return;
    this.#end = reason;
    this.#socket.destroy();
    this.#greeting.reject(reason);
    for (const { reply } of this.#commands.values()) reply.reject(reason);
    this.#commands.clear();
    for (const { arrival } of [...this.#awaited]) arrival.reject(reason);
    for (const listener of [...this.#closeListeners]) listener(reason);
    this.#closeListeners.clear();
  }
}
