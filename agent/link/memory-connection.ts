import { MigrationError } from '../../shared/errors.js';
import { CLOSE_BROKEN, closeReason } from '../../shared/protocol/close-codes.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';

interface Pending {
  data: Uint8Array;
  resolve: () => void;
  reject: (error: Error) => void;
}

/**
 * One end of a connection within this process. A message is delivered as the very memory that was sent, in a later
 * turn of the event loop; its send resolves once the receiver has had it. What waits for a receiver stays with the
 * sender, unresolved, so nothing is buffered that the sender does not know of.
 */
export class MemoryConnection implements Connection {
  readonly #outgoing: Pending[] = [];
  /** Messages that the peer had sent before it closed and that no listener has taken yet. */
  #late: Uint8Array[] = [];
  /** Set by pair() before anyone sees this end. */
  #peer!: MemoryConnection;
  #listener: ((data: Uint8Array) => void) | null = null;
  #readPaused = false;
  #delivering = false;
  #end: ConnectionEnd | null = null;
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];

  /** Two ends that are connected to each other. */
  static pair(): [MemoryConnection, MemoryConnection] {
    const a = new MemoryConnection();
    const b = new MemoryConnection();
    a.#peer = b;
    b.#peer = a;
    return [a, b];
  }

  send(data: Uint8Array): Promise<void> {
    if (this.#end) return Promise.reject(lost(this.#end));
    return new Promise((resolve, reject) => {
      this.#outgoing.push({ data, resolve, reject });
      this.#deliverSoon();
    });
  }

  onMessage(listener: (data: Uint8Array) => void): void {
    this.#listener = listener;
    this.#peer.#deliverSoon();
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    const end = this.#end;
    if (end) queueMicrotask(() => listener(end));
    else this.#closeListeners.push(listener);
  }

  close(code: number, reason: string): void {
    this.#finish(code, closeReason(reason));
  }

  /** Ends both sides without a close code, as a cut cable or a killed process does. */
  cut(reason: string): void {
    this.#ended({ code: CLOSE_BROKEN, reason, local: false });
    this.#peer.#ended({ code: CLOSE_BROKEN, reason, local: false });
  }

  setReadPaused(paused: boolean): void {
    this.#readPaused = paused;
    if (!paused) this.#peer.#deliverSoon();
  }

  #finish(code: number, reason: string): void {
    if (this.#end) return;
    // what was sent before the close arrives before it; a peer that does not read yet has it when it does
    this.#deliver();
    this.#peer.#late = this.#outgoing.map(({ data }) => data);
    this.#ended({ code, reason, local: true });
    this.#peer.#ended({ code, reason, local: false });
    this.#deliverSoon();
  }

  #deliverSoon(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    setImmediate(() => {
      this.#delivering = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const peer = this.#peer;
    while (peer.#listener && !peer.#readPaused) {
      const late = peer.#late.shift();
      if (late) {
        peer.#listener(late);
        continue;
      }
      const pending = this.#outgoing.shift();
      if (pending === undefined) return;
      peer.#listener(pending.data);
      pending.resolve();
    }
  }

  #ended(end: ConnectionEnd): void {
    if (this.#end) return;
    this.#end = end;
    for (const pending of this.#outgoing.splice(0)) pending.reject(lost(end));
    for (const listener of this.#closeListeners.splice(0)) queueMicrotask(() => listener(end));
  }
}

function lost(end: ConnectionEnd): MigrationError {
  return new MigrationError('link-lost', connectionError(end, 'the peer').message);
}

/** Two ends of a connection within this process. */
export function connectedPair(): [MemoryConnection, MemoryConnection] {
  return MemoryConnection.pair();
}
