import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { MigrationError } from '../../shared/errors.js';
import {
  CLOSE_BROKEN,
  CLOSE_CODES,
  closeReason,
  errorToCloseCode,
} from '../../shared/protocol/close-codes.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';
import { startHeartbeat, type HeartbeatOptions } from './heartbeat.js';
import type { PayloadSiphon } from './payload-siphon.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/** Time for the peer to answer a close; after it the socket is destroyed. ms */
export const CLOSE_TIMEOUT_MS = 2000;

/**
 * Bytes and messages kept until there is a listener; the socket is not read beyond them. Bounds what a peer that
 * talks early makes this side hold.
 */
const MAX_EARLY_BYTES = 2 ** 20;
const MAX_EARLY_MESSAGES = 256;

export interface WsConnectionOptions {
  /** Named in errors. */
  peer: string;
  heartbeat?: HeartbeatOptions;
  closeTimeoutMs?: number;
  timers?: Timers;
  /** Where the payload of binary messages is taken from instead of the WebSocket; their boundaries are lost then. */
  siphon?: PayloadSiphon;
}

/**
 * A connection over an open WebSocket and its socket. Both sides send pings and take silence for a lost link; the
 * socket is destroyed where a close is not answered in time.
 */
export class WsConnection implements Connection {
  readonly #socket: WebSocket;
  readonly #tcp: Socket;
  readonly #siphon: PayloadSiphon | null;
  readonly #peer: string;
  readonly #timers: Timers;
  readonly #closeTimeoutMs: number;
  readonly #stopHeartbeat: () => void;
  #stopCloseGuard: (() => void) | null = null;
  #listener: ((data: Uint8Array) => void) | null = null;
  /** Messages read ahead of a listener or in spite of a pause (they were in the same read). */
  readonly #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #readPaused = false;
  #reading: 'flowing' | 'paused' = 'flowing';
  #draining = false;
  /** Why this side ended the connection. */
  #ownEnd: { code: number; reason: string } | null = null;
  #end: ConnectionEnd | null = null;
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];

  /** `socket` is open; `tcp` is what it runs on. */
  constructor(socket: WebSocket, tcp: Socket, options: WsConnectionOptions) {
    this.#socket = socket;
    this.#tcp = tcp;
    this.#siphon = options.siphon ?? null;
    this.#siphon?.onPayload((payload) => this.#receive(payload));
    this.#peer = options.peer;
    this.#timers = options.timers ?? systemTimers;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS;
    socket.binaryType = 'nodebuffer';
    let broken = 'the connection broke';
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) this.#receive(data);
      else this.close(errorToCloseCode('bad-message'), 'text messages are not part of the protocol');
    });
    socket.on('error', (error) => {
      broken = error.message;
      const code = protocolErrorClose(error);
      if (code === null) return;
      // the library has sent that close code to the peer already
      this.#ownEnd ??= { code, reason: error.message };
      this.#guardClose();
    });
    socket.on('close', (code, reason) => {
      this.#finish(code, code === CLOSE_BROKEN ? broken : reason.toString());
    });
    this.#stopHeartbeat = startHeartbeat(
      {
        ping: () => {
          if (socket.readyState === socket.OPEN) socket.ping();
        },
        bytesHeard: () => tcp.bytesRead,
        deaf: () => this.#reading === 'paused',
        silent: (timeoutMs) => this.#giveUp(`nothing was heard of ${options.peer} for ${timeoutMs} ms`),
      },
      this.#timers,
      options.heartbeat,
    );
  }

  send(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end || this.#ownEnd) {
        reject(this.#sendError());
        return;
      }
      this.#socket.send(data, { binary: true, compress: false }, (error) => {
        if (error) reject(this.#sendError(error));
        else resolve();
      });
    });
  }

  onMessage(listener: (data: Uint8Array) => void): void {
    this.#listener = listener;
    this.#drainSoon();
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    const end = this.#end;
    if (end) queueMicrotask(() => listener(end));
    else this.#closeListeners.push(listener);
  }

  close(code: number, reason: string): void {
    if (this.#end || this.#ownEnd) return;
    this.#ownEnd = { code, reason: closeReason(reason) };
    this.#socket.close(code, this.#ownEnd.reason);
    // the peer's close can only be seen by reading
    this.#early.length = 0;
    this.#setReading('flowing');
    this.#guardClose();
  }

  setReadPaused(paused: boolean): void {
    this.#readPaused = paused;
    this.#steerReading();
    if (!paused) this.#drainSoon();
  }

  #receive(data: Uint8Array): void {
    if (this.#ownEnd) return;
    if (this.#listener && !this.#readPaused && this.#early.length === 0) {
      this.#listener(data);
      return;
    }
    // What comes from the siphon lies where the next piece will be.
    this.#early.push(this.#siphon ? Uint8Array.from(data) : data);
    this.#earlyBytes += data.length;
    this.#steerReading();
  }

  #drainSoon(): void {
    if (this.#draining || this.#early.length === 0) return;
    this.#draining = true;
    queueMicrotask(() => {
      this.#draining = false;
      while (this.#listener && !this.#readPaused) {
        const data = this.#early.shift();
        if (data === undefined) break;
        this.#earlyBytes -= data.length;
        this.#listener(data);
      }
      this.#steerReading();
    });
  }

  /** Reads from the socket unless it is paused or enough waits already. */
  #steerReading(): void {
    if (this.#ownEnd || this.#end) return;
    const full = this.#earlyBytes >= MAX_EARLY_BYTES || this.#early.length >= MAX_EARLY_MESSAGES;
    this.#setReading(this.#readPaused || full ? 'paused' : 'flowing');
  }

  #setReading(reading: 'flowing' | 'paused'): void {
    if (reading === this.#reading) return;
    this.#reading = reading;
    if (this.#siphon) this.#siphon.setReadPaused(reading === 'paused');
    else if (reading === 'paused') this.#socket.pause();
    else this.#socket.resume();
  }

  /** Destroys the socket unless the peer answers the close in time. */
  #guardClose(): void {
    this.#stopCloseGuard ??= this.#timers.after(this.#closeTimeoutMs, () => this.#socket.terminate());
  }

  /** Ends a connection whose peer does not answer. */
  #giveUp(reason: string): void {
    this.#ownEnd ??= { code: CLOSE_CODES['link-lost'], reason: closeReason(reason) };
    this.#socket.terminate();
  }

  #sendError(cause?: Error): MigrationError {
    const message = this.#end
      ? connectionError(this.#end, this.#peer).message
      : cause
        ? `connection to ${this.#peer} was lost: ${cause.message}`
        : `connection to ${this.#peer} is being closed by this side`;
    return new MigrationError('link-lost', message, cause ? { cause } : {});
  }

  #finish(code: number, reason: string): void {
    if (this.#end) return;
    this.#stopHeartbeat();
    this.#stopCloseGuard?.();
    const end = this.#ownEnd ? { ...this.#ownEnd, local: true } : { code, reason, local: false };
    this.#end = end;
    this.#tcp.destroy();
    for (const listener of this.#closeListeners.splice(0)) listener(end);
  }
}

/** The close code with which `ws` answers what breaks the WebSocket protocol or its limits; null for other errors. */
function protocolErrorClose(error: Error): number | null {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (!code.startsWith('WS_ERR_')) return null;
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return 1009;
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') return 1008;
  return code === 'WS_ERR_INVALID_UTF8' ? 1007 : 1002;
}
