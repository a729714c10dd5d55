import type { Connection, ConnectionEnd } from '../../agent/link/connection.js';
import { delay, type Timers } from '../../shared/timers.js';

/**
 * Decorators that make a connection worse. Each works on what this end sends; wrap both ends to have it both ways.
 * The buffers that are sent stay untouched until their send resolves, so they can be held here.
 */
class WrappedConnection implements Connection {
  protected readonly inner: Connection;

  constructor(inner: Connection) {
    this.inner = inner;
  }

  send(data: Uint8Array): Promise<void> {
    return this.inner.send(data);
  }

  onMessage(listener: (data: Uint8Array) => void): void {
    this.inner.onMessage(listener);
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    this.inner.onClose(listener);
  }

  close(code: number, reason: string): void {
    this.inner.close(code, reason);
  }

  setReadPaused(paused: boolean): void {
    this.inner.setReadPaused(paused);
  }
}

class DelayedConnection extends WrappedConnection {
  readonly #ms: number;
  readonly #timers: Timers;
  #before: Promise<unknown> = Promise.resolve();

  constructor(inner: Connection, ms: number, timers: Timers) {
    super(inner);
    this.#ms = ms;
    this.#timers = timers;
  }

  override send(data: Uint8Array): Promise<void> {
    const due = delay(this.#timers, this.#ms);
    const sent = this.#before.then(() => due).then(() => this.inner.send(data));
    this.#before = sent.catch(() => undefined);
    return sent;
  }

  override close(code: number, reason: string): void {
    const due = delay(this.#timers, this.#ms);
    void this.#before.then(() => due).then(() => this.inner.close(code, reason));
  }
}

/** Everything arrives `ms` later, in order; any amount may be on its way. */
export function delayed(connection: Connection, ms: number, timers: Timers): Connection {
  return new DelayedConnection(connection, ms, timers);
}

class RateLimitedConnection extends WrappedConnection {
  readonly #bytesPerSecond: number;
  readonly #timers: Timers;
  #before: Promise<unknown> = Promise.resolve();

  constructor(inner: Connection, bytesPerSecond: number, timers: Timers) {
    super(inner);
    this.#bytesPerSecond = bytesPerSecond;
    this.#timers = timers;
  }

  override send(data: Uint8Array): Promise<void> {
    const sent = this.#before
      .then(() => delay(this.#timers, (data.length / this.#bytesPerSecond) * 1000))
      .then(() => this.inner.send(data));
    this.#before = sent.catch(() => undefined);
    return sent;
  }
}

/** A narrow link: a message takes its length divided by the rate, one after the other. */
export function rateLimited(connection: Connection, bytesPerSecond: number, timers: Timers): Connection {
  return new RateLimitedConnection(connection, bytesPerSecond, timers);
}

class DroppingConnection extends WrappedConnection {
  readonly #cut: () => void;
  #left: number;
  #before: Promise<unknown> = Promise.resolve();

  constructor(inner: Connection, bytes: number, cut: () => void) {
    super(inner);
    this.#left = bytes;
    this.#cut = cut;
  }

  override send(data: Uint8Array): Promise<void> {
    const allowed = Math.min(this.#left, data.length);
    this.#left -= allowed;
    const sent = allowed > 0 ? this.inner.send(data.subarray(0, allowed)) : Promise.resolve();
    if (allowed < data.length) {
      // once all that is allowed has arrived
      this.#before = Promise.allSettled([this.#before, sent]).then(() => this.#cut());
      return this.#before.then(() => this.inner.send(data.subarray(allowed)));
    }
    this.#before = Promise.allSettled([this.#before, sent]);
    return sent;
  }
}

/** Breaks after exactly `bytes` bytes were sent by this end: calls `cut`, as MemoryConnection.cut. */
export function dropsAtByte(connection: Connection, bytes: number, cut: () => void): Connection {
  return new DroppingConnection(connection, bytes, cut);
}

class CorruptingConnection extends WrappedConnection {
  #left: number;
  readonly #mask: number;

  constructor(inner: Connection, byte: number, mask: number) {
    super(inner);
    this.#left = byte;
    this.#mask = mask;
  }

  override send(data: Uint8Array): Promise<void> {
    const at = this.#left;
    this.#left -= data.length;
    if (at < 0 || at >= data.length) return this.inner.send(data);
    const changed = Uint8Array.from(data);
    changed[at] = (changed[at] ?? 0) ^ this.#mask;
    return this.inner.send(changed);
  }
}

/** Flips the bits of `mask` in byte number `byte` of all that this end sends. */
export function corruptsByte(connection: Connection, byte: number, mask: number): Connection {
  return new CorruptingConnection(connection, byte, mask);
}

class ResplitConnection extends WrappedConnection {
  readonly #sizes: readonly number[];
  #next = 0;

  constructor(inner: Connection, sizes: readonly number[]) {
    super(inner);
    this.#sizes = sizes;
  }

  override async send(data: Uint8Array): Promise<void> {
    const sends: Promise<void>[] = [];
    for (let offset = 0; offset < data.length;) {
      const size = this.#sizes[this.#next++ % this.#sizes.length] ?? data.length;
      sends.push(this.inner.send(data.subarray(offset, offset + size)));
      offset += size;
    }
    await Promise.all(sends);
  }
}

/** Cuts messages into pieces of `sizes` (at least 1 each), in turn: only for streams of bytes, as page streams are. */
export function resplit(connection: Connection, sizes: readonly number[]): Connection {
  return new ResplitConnection(connection, sizes);
}
