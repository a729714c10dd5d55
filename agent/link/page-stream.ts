import { MigrationError } from '../../shared/errors.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';

/**
 * Bytes handed to one connection and not yet taken by the kernel: enough to keep a fast link busy while this
 * process does other things, little enough that a slow link costs no memory to speak of.
 */
export const MAX_IN_FLIGHT_BYTES = 8 * 2 ** 20;

/** Frames up to this size are copied together into one message: a message costs more than copying that much. */
export const COALESCED_PAYLOAD_BYTES = 16 * 1024;

/** Size of the buffers in which small frames are gathered. */
const BATCH_BYTES = 64 * 1024;

interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What is before is with the connection already. */
  start: number;
  /** Where the next frame goes. */
  end: number;
  /** Parts that the connection may still read. */
  reading: number;
}

interface Waiting {
  resolve: () => void;
  reject: (error: MigrationError) => void;
}

/** The sending end of one page stream: an ordered stream of bytes over a connection, with bounded bytes in flight. */
export class PageStream {
  readonly #connection: Connection;
  /** Frames are gathered here. */
  #batch = newBatch();
  /** Batches that the connection has taken all of, to be filled again: with small frames they would be most of what is allocated. */
  readonly #spare: Batch[] = [];
  #flushScheduled = false;
  #inFlightBytes = 0;
  #takenBytes = 0;
  #failure: MigrationError | null = null;
  #waiting: Waiting[] = [];
  #draining: Waiting[] = [];

  /** `peer` is named in errors. */
  constructor(connection: Connection, peer: string) {
    this.#connection = connection;
    // pages flow one way
    connection.onMessage(() => {
      const error = new MigrationError('unexpected-message', `${peer} sent data on a stream of pages to it`);
      this.fail(error);
      connection.close(errorToCloseCode(error.code), error.message);
    });
    connection.onClose((end) => this.fail(connectionError(end, peer)));
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    this.#connection.onClose(listener);
  }

  close(code: number, reason: string): void {
    this.#connection.close(code, reason);
  }

  /** Lets everything that waits for room, and whatever is written from now on, fail with `error`. */
  fail(error: MigrationError): void {
    this.#failure ??= error;
    for (const waiting of [...this.#waiting.splice(0), ...this.#draining.splice(0)]) {
      waiting.reject(this.#failure);
    }
  }

  /** Bytes that the connection has taken: it is getting on as long as they grow. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Hands over what is gathered, and resolves once the connection has taken everything. Throws what ended the stream. */
  async drained(): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.flush();
    if (this.#inFlightBytes === 0) return;
    await new Promise<void>((resolve, reject) => this.#draining.push({ resolve, reject }));
  }

  /** Null, or a promise to await before anything more is written. Throws what ended the stream. */
  room(): Promise<void> | null {
    if (this.#failure) throw this.#failure;
    if (this.#inFlightBytes < MAX_IN_FLIGHT_BYTES) return null;
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Queues a frame. A `payload` that is not small is read later, uncopied. */
  write(header: Uint8Array, payload: Uint8Array | null): void {
    if (payload !== null && payload.length > COALESCED_PAYLOAD_BYTES) {
      this.#gather(header);
      this.flush();
      this.#send(payload);
      return;
    }
    this.#gather(header);
    if (payload !== null) this.#gather(payload);
    this.#flushSoon();
  }

  /** Hands over what is gathered. */
  flush(): void {
    const batch = this.#batch;
    if (batch.end === batch.start) return;
    const gathered = batch.bytes.subarray(batch.start, batch.end);
    batch.start = batch.end;
    batch.reading += 1;
    this.#send(gathered, batch);
  }

  #gather(bytes: Uint8Array): void {
    if (bytes.length > BATCH_BYTES - this.#batch.end) {
      this.flush();
      const full = this.#batch;
      this.#batch = this.#spare.pop() ?? newBatch();
      if (full.reading === 0) this.#reuse(full);
    }
    this.#batch.bytes.set(bytes, this.#batch.end);
    this.#batch.end += bytes.length;
  }

  #reuse(batch: Batch): void {
    batch.start = 0;
    batch.end = 0;
    this.#spare.push(batch);
  }

  /** At the end of this turn at the latest nothing is held back. */
  #flushSoon(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      if (!this.#failure) this.flush();
    });
  }

  /** `batch`: what `data` is a part of, where it was gathered. */
  #send(data: Uint8Array, batch: Batch | null = null): void {
    this.#inFlightBytes += data.length;
    this.#connection.send(data).then(
      () => {
        this.#inFlightBytes -= data.length;
        this.#takenBytes += data.length;
        if (batch) batch.reading -= 1;
        if (batch && batch.reading === 0 && batch !== this.#batch) this.#reuse(batch);
        if (this.#inFlightBytes === 0) for (const draining of this.#draining.splice(0)) draining.resolve();
        if (this.#inFlightBytes < MAX_IN_FLIGHT_BYTES) {
          for (const waiting of this.#waiting.splice(0)) waiting.resolve();
        }
      },
      // the connection has ended, and tells why through onClose
      () => undefined,
    );
  }
}

function newBatch(): Batch {
  return { bytes: new Uint8Array(BATCH_BYTES), start: 0, end: 0, reading: 0 };
}
