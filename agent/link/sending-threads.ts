import { MigrationError } from '../../shared/errors.js';
import { CLOSE_BROKEN } from '../../shared/protocol/close-codes.js';
import type { Region, RegionHandle } from '../guest/guest.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';
import { AgentThread } from '../threads/agent-thread.js';
import { ThreadPool } from '../threads/thread-pool.js';

const TRAITS = { name: 'page sender', heapMiB: 32 };

/** To a sending thread. `fd`: an open socket, the thread's to close. */
export type SendingCommand =
  | {
      readonly do: 'open';
      readonly fd: number;
      readonly peer: string;
      readonly regions: readonly RegionHandle[];
    }
  /** Part of a region's memory, or what is given. */
  | { readonly do: 'send'; readonly region: number; readonly offset: number; readonly bytes: number }
  | { readonly do: 'send-content'; readonly content: Uint8Array }
  | { readonly do: 'close'; readonly code: number; readonly reason: string };

/** From a sending thread. */
export type SendingReport =
  /** The kernel has taken the next `count` of what was to be sent. */
  | { readonly say: 'taken'; readonly count: number }
  /** The peer has sent something. */
  | { readonly say: 'heard' }
  /** All is let go; the thread can take another socket. */
  | { readonly say: 'ended'; readonly end: ConnectionEnd };

/** Threads that write guest memory to page streams: copying it into the kernel is most of what a source does. */
export class SendingThreads {
  readonly #pool: ThreadPool<SendingThread>;

  /** `most`: threads that are kept. */
  constructor(most: number) {
    this.#pool = new ThreadPool(most, (onExit) => new SendingThread(onExit));
  }

  warmUp(): void {
    this.#pool.warmUp();
  }

  /**
   * Lets a thread send what goes over that connection from now on, of the memory of `regions` and other things; the connection
   * as it is where its socket can't be passed on or the memory can't be shared.
   */
  async adopt(connection: Connection, regions: readonly Region[], peer: string): Promise<Connection> {
    const handles = regions.flatMap(({ handle }) => handle ?? []);
    if (handles.length < regions.length) return connection;
    const passedOn = await connection.passOn?.((fd) => {
      const thread = this.#pool.take();
      return thread.open({ fd, peer, regions: handles }, regions, () => this.#pool.give(thread));
    });
    return passedOn ?? connection;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** One thread, from the agent's side. */
class SendingThread {
  readonly #thread: AgentThread<SendingCommand, SendingReport>;

  /** `onExit`: it is no more. */
  constructor(onExit: () => void) {
    this.#thread = new AgentThread(new URL('./sending-thread-worker.js', import.meta.url), TRAITS, onExit);
  }

  open(
    request: Omit<Extract<SendingCommand, { do: 'open' }>, 'do'>,
    regions: readonly Region[],
    onEnded: () => void,
  ): Connection {
    const thread = this.#thread;
    const connection = new ThreadedConnection(thread, regions, request.peer);
    thread.hear = (report) => {
      connection.hear(report);
      if (report.say === 'ended') onEnded();
    };
    thread.broken = ({ message }) =>
      connection.hear({ say: 'ended', end: { code: CLOSE_BROKEN, reason: message, local: false } });
    thread.say({ do: 'open', ...request });
    return connection;
  }

  end(): Promise<void> {
    return this.#thread.end();
  }
}

/** A connection whose socket belongs to a sending thread. */
class ThreadedConnection implements Connection {
  readonly #thread: AgentThread<SendingCommand, SendingReport>;
  readonly #peer: string;
  readonly #regions: readonly Region[];
  /** What was passed to the thread and is not taken yet, in order. */
  readonly #pending: { resolve: () => void; reject: (error: MigrationError) => void }[] = [];
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];
  #listener: ((data: Uint8Array) => void) | null = null;
  #closing = false;
  #end: ConnectionEnd | null = null;

  constructor(thread: AgentThread<SendingCommand, SendingReport>, regions: readonly Region[], peer: string) {
    this.#thread = thread;
    this.#regions = regions;
    this.#peer = peer;
  }

  send(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end || this.#closing) {
        reject(this.#sendError());
        return;
      }
      this.#pending.push({ resolve, reject });
      const region = this.#regions.findIndex(({ memory }) => memory.buffer === data.buffer);
      if (region < 0) {
        // Of a view of something larger all would be copied.
        const content = new Uint8Array(data);
        this.#thread.say({ do: 'send-content', content }, [content.buffer]);
      } else {
        const offset = data.byteOffset - this.#regions[region]!.memory.byteOffset;
        this.#thread.say({ do: 'send', region, offset, bytes: data.length });
      }
    });
  }

  onMessage(listener: (data: Uint8Array) => void): void {
    this.#listener = listener;
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    const end = this.#end;
    if (end) queueMicrotask(() => listener(end));
    else this.#closeListeners.push(listener);
  }

  close(code: number, reason: string): void {
    if (this.#end || this.#closing) return;
    this.#closing = true;
    this.#thread.say({ do: 'close', code, reason });
  }

  setReadPaused(): void {
    // Nothing is to be read.
  }

  hear(report: SendingReport): void {
    if (report.say === 'taken') for (const { resolve } of this.#pending.splice(0, report.count)) resolve();
    else if (report.say === 'heard') this.#listener?.(new Uint8Array(0));
    else this.#finish(report.end);
  }

  #finish(end: ConnectionEnd): void {
    if (this.#end) return;
    this.#end = end;
    for (const { reject } of this.#pending.splice(0)) reject(this.#sendError());
    for (const listener of this.#closeListeners.splice(0)) listener(end);
  }

  #sendError(): MigrationError {
    const text = this.#end
      ? connectionError(this.#end, this.#peer).message
      : `connection to ${this.#peer} is being closed by this side`;
    return new MigrationError('link-lost', text);
  }
}
