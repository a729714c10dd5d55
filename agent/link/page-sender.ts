import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
  MAX_FRAME_PAYLOAD,
  MAX_ZERO_PAGES,
  type BlobKind,
} from '../../shared/protocol/frame.js';
import { connectionError } from './connection-end.js';
import type { Connection, ConnectionEnd } from './connection.js';
import type { PageSender } from './link.js';
import { Pacer } from './pacer.js';
import { PageStream } from './page-stream.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/**
 * Pages of a region are dealt out to the streams in stripes of this many, by page number: what is sent of one page
 * always goes through the same stream, so that a newer content can never be overtaken by an older one.
 */
const STRIPE_PAGES = MAX_FRAME_PAYLOAD / PAGE_SIZE;

export interface PageSenderOptions {
  /** Named in errors. */
  peer: string;
  /** Most that pages may put on the link; 0: no limit. */
  bandwidthBytesPerSecond?: number;
  /** Once aborted, every method rejects with its reason. */
  signal?: AbortSignal;
  timers?: Timers;
}

/** Sends pages over one or more connections, as frames of shared/protocol/frame.ts. */
export class StreamedPageSender implements PageSender {
  readonly #streams: readonly PageStream[];
  readonly #pacer: Pacer;
  readonly #signal: AbortSignal | undefined;
  /** Streams that pages are dealt out to: the first ones. */
  #used: number;
  /** The last write of each stream, where it still waits for its turn. */
  readonly #waiting: (Promise<void> | undefined)[] = [];
  #wireBytes = 0;
  #ended: ConnectionEnd | null = null;
  readonly #closeListeners: ((end: ConnectionEnd) => void)[] = [];

  /** `connections` are in the order of their stream numbers, at least one. */
  constructor(connections: readonly Connection[], options: PageSenderOptions) {
    this.#streams = connections.map((connection) => new PageStream(connection, options.peer));
    this.#used = connections.length;
    this.#pacer = new Pacer(
      options.bandwidthBytesPerSecond ?? 0,
      options.timers ?? systemTimers,
      options.signal,
    );
    this.#signal = options.signal;
    for (const stream of this.#streams) {
      stream.onClose((end) => {
        // the streams live and die together
        this.#fail(connectionError(end, options.peer));
        this.#streamEnded(end);
      });
    }
    this.#signal?.addEventListener('abort', () => this.#fail(this.#abortReason()), { once: true });
    if (this.#signal?.aborted) this.#fail(this.#abortReason());
  }

  get wireBytes(): number {
    return this.#wireBytes;
  }

  get takenBytes(): number {
    return this.#streams.reduce((sum, stream) => sum + stream.takenBytes, 0);
  }

  async sendPages(run: Run, data: Uint8Array): Promise<void> {
    if (data.length !== run.pageCount * PAGE_SIZE) {
      throw new MigrationError('internal', `${run.pageCount} pages were given with ${data.length} bytes`);
    }
    for (let done = 0; done < run.pageCount;) {
      const piecePages = Math.min(STRIPE_PAGES, this.#pacer.pieceBytes / PAGE_SIZE);
      const firstPage = run.firstPage + done;
      const pageCount = Math.min(run.pageCount - done, piecePages, STRIPE_PAGES - (firstPage % STRIPE_PAGES));
      const frame = { region: run.region, firstPage, pageCount };
      const payload = data.subarray(done * PAGE_SIZE, (done + pageCount) * PAGE_SIZE);
      await this.#write(this.#streamOf(firstPage), encodePagesHeader(frame), payload);
      done += pageCount;
    }
  }

  async sendZeroPages(run: Run): Promise<void> {
    // with one stream there is nothing to keep apart
    const stripe = this.#used === 1 ? MAX_ZERO_PAGES : STRIPE_PAGES;
    for (let done = 0; done < run.pageCount;) {
      const firstPage = run.firstPage + done;
      const pageCount = Math.min(run.pageCount - done, stripe - (firstPage % stripe));
      const frame = encodeZeroPages({ region: run.region, firstPage, pageCount });
      await this.#write(this.#streamOf(firstPage), frame, null);
      done += pageCount;
    }
  }

  async sendBlob(kind: BlobKind, offset: number, data: Uint8Array): Promise<void> {
    for (let done = 0; done < data.length;) {
      const pieceBytes = Math.min(MAX_FRAME_PAYLOAD, this.#pacer.pieceBytes);
      const piece = data.subarray(done, done + pieceBytes);
      await this.#write(0, encodeBlobHeader(kind, offset + done, piece.length), piece);
      done += piece.length;
    }
  }

  async sendRoundEnd(round: number): Promise<void> {
    // At once on all of them: what is sent from now on comes after it, whoever has to wait.
    const writes = this.#streams.map((_, number) => this.#write(number, encodeRoundEnd(round), null));
    await Promise.all(writes);
    await Promise.all(this.#streams.map((stream) => stream.drained()));
  }

  use(streams: number): void {
    this.#used = Math.min(Math.max(1, streams), this.#streams.length);
  }

  limit(bytesPerSecond: number): void {
    this.#pacer.change(bytesPerSecond);
  }

  onClose(listener: (end: ConnectionEnd) => void): void {
    const end = this.#ended;
    if (end) queueMicrotask(() => listener(end));
    else this.#closeListeners.push(listener);
  }

  close(error?: MigrationError): void {
    for (const stream of this.#streams) {
      if (error) stream.close(errorToCloseCode(error.code), error.message);
      else {
        stream.flush();
        stream.close(CLOSE_DONE, '');
      }
    }
  }

  #streamOf(page: number): number {
    return Math.floor(page / STRIPE_PAGES) % this.#used;
  }

  /** Writes leave a stream in the order of these calls, however long each has to wait: a round's end ends what came before. */
  #write(number: number, header: Uint8Array, payload: Uint8Array | null): Promise<void> {
    const before = this.#waiting[number];
    const writing = before
      ? // Of what failed there its caller hears; all that come after fail likewise.
        before.catch(() => undefined).then(() => this.#writeInTurn(number, header, payload))
      : this.#writeInTurn(number, header, payload);
    this.#waiting[number] = writing;
    const written = () => {
      if (this.#waiting[number] === writing) this.#waiting[number] = undefined;
    };
    writing.then(written, written);
    return writing;
  }

  async #writeInTurn(number: number, header: Uint8Array, payload: Uint8Array | null): Promise<void> {
    const stream = this.#streams[number];
    if (stream === undefined) throw new MigrationError('internal', `there is no page stream ${number}`);
    const bytes = header.length + (payload?.length ?? 0);
    if (this.#pacer.limited) await this.#pacer.take(bytes);
    for (let room = stream.room(); room !== null; room = stream.room()) await room;
    this.#wireBytes += bytes;
    stream.write(header, payload);
  }

  #streamEnded(end: ConnectionEnd): void {
    if (this.#ended) return;
    this.#ended = end;
    for (const listener of this.#closeListeners.splice(0)) listener(end);
  }

  #fail(error: MigrationError): void {
    for (const stream of this.#streams) stream.fail(error);
  }

  #abortReason(): MigrationError {
    return toMigrationError(this.#signal?.reason, 'cancelled');
  }
}
