import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { MigrationError } from '../../shared/errors.js';
import { CLOSE_BROKEN, CLOSE_DONE, closeReason } from '../../shared/protocol/close-codes.js';
import { duplicateDescriptor } from '../system/system-calls.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';
import { descriptorOf } from './socket-descriptor.js';
import { CLOSE_TIMEOUT_MS } from './ws-connection.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/**
 * The sending end of a page stream over a plain TCP socket, past its upgrade. There are no close codes on it: an end in good order
 * is the end of the stream, any other a reset, and the control connection says why.
 */
export class TcpConnection implements Connection {
  readonly #socket: Socket;
  readonly #peer: string;
  #corked = false;
  #listener: ((data: Uint8Array) => void) | null = null;
  #ownEnd: ConnectionEnd | null = null;
  /** Has the socket now. */
  #successor: Connection | null = null;
  #end: ConnectionEnd | null = null;
  #broken = 'the connection broke';
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];
  readonly #timers: Pick<Timers, 'after'>;
  #cancelTimeout: () => void = () => undefined;

  /** `peer` is named in errors. */
  constructor(socket: Socket, peer: string, timers: Pick<Timers, 'after'> = systemTimers) {
    this.#socket = socket;
    this.#peer = peer;
    this.#timers = timers;
    socket.setNoDelay();
    socket.setTimeout(0);
    socket.on('error', (error) => (this.#broken = error.message));
    socket.on('data', (data: Buffer) => this.#listener?.(data));
    socket.on('end', () => {
      if (!this.#ownEnd) this.#broken = 'it was closed by the other side';
      socket.destroy();
    });
    socket.on('close', () => {
      if (this.#successor) return;
      this.#finish(this.#ownEnd ?? { code: CLOSE_BROKEN, reason: this.#broken, local: false });
    });
  }

  send(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end || this.#ownEnd || this.#successor) {
        reject(this.#sendError());
        return;
      }
      this.#cork();
      this.#socket.write(data, (error) => {
        if (error) reject(this.#sendError(error));
        else resolve();
      });
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
    if (this.#successor) {
      this.#successor.close(code, reason);
      return;
    }
    if (this.#end || this.#ownEnd) return;
    this.#ownEnd = { code, reason: closeReason(reason), local: true };
    if (code === CLOSE_DONE) {
      this.#socket.end();
      // A peer that does not end its side, or takes nothing any more, must not keep the connection here.
      this.#cancelTimeout = this.#timers.after(CLOSE_TIMEOUT_MS, () => this.#socket.destroy());
    } else if (this.#socket instanceof TLSSocket) {
      // It can't be reset. The peer sees an end that it was not told of, which is as good.
      this.#socket.destroy();
    } else {
      this.#socket.resetAndDestroy();
    }
  }

  async passOn(take: (fd: number) => Connection): Promise<Connection | null> {
    if (this.#end || this.#ownEnd) return null;
    await new Promise<void>((resolve) => this.#socket.write('', () => resolve()));
    if (this.#end || this.#ownEnd) return null;
    const fd = duplicateOf(this.#socket);
    if (fd === null) return null;
    const successor = take(fd);
    this.#successor = successor;
    successor.onClose((end) => this.#finish(end));
    this.#socket.destroy();
    return successor;
  }

  setReadPaused(paused: boolean): void {
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** What is sent in one turn goes to the kernel in one call: a header with its payload. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#corked = false;
      this.#socket.uncork();
    });
  }

  #sendError(cause?: Error): MigrationError {
    const end = this.#end ?? this.#ownEnd;
    const message = end
      ? connectionError(end, this.#peer).message
      : `connection to ${this.#peer} was lost: ${cause?.message ?? this.#broken}`;
    return new MigrationError('link-lost', message, cause ? { cause } : {});
  }

  #finish(end: ConnectionEnd): void {
    if (this.#end) return;
    this.#cancelTimeout();
    this.#end = end;
    for (const listener of this.#closeListeners.splice(0)) listener(end);
  }
}

/** Another descriptor of a socket; null for one over TLS, and where there is none to be had. */
function duplicateOf(socket: Socket): number | null {
  const fd = socket instanceof TLSSocket ? null : descriptorOf(socket);
  if (fd === null) return null;
  try {
    return duplicateDescriptor(fd);
  } catch {
    return null;
  }
}
