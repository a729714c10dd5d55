import { MigrationError, toMigrationError } from '../errors.js';
import { PAGE_SIZE, type Run } from '../page.js';
import {
  BLOB_KIND,
  FRAME_HEADER_BYTES,
  FRAME_TYPE,
  MAX_BLOB_BYTES,
  MAX_FRAME_PAYLOAD,
  MAX_PAGE_NUMBER,
  MAX_ROUND,
  MAX_ZERO_PAGES,
  type BlobKind,
} from './frame.js';

/** Receives what one page stream carries, in order, as it arrives. What it throws ends the stream. */
export interface FrameSink {
  /** A frame of pages begins. Its bytes follow as payload(). */
  pages(run: Run): void;
  /** The next bytes of the frame; `offset` is in bytes from the start of the region. */
  payload(region: number, offset: number, chunk: Uint8Array): void;
  /**
   * The memory that the next `bytes` bytes of the frame belong in, for whoever reads them straight into it: payload() is not
   * called for these then. Null where they can't be put there without looking. Absent where that is so of all.
   */
  place?(region: number, offset: number, bytes: number): Uint8Array | null;
  /** So many bytes of payload have come, however they were delivered. */
  delivered?(bytes: number): void;
  /** The last byte of the frame of `run` was delivered. */
  pagesEnd(run: Run): void;
  zeroPages(run: Run): void;
  /** The next bytes of a blob, at `offset`. */
  blob(kind: BlobKind, offset: number, chunk: Uint8Array): void;
  roundEnd(round: number): void;
}

type PayloadTarget =
  { type: 'pages'; run: Run; offset: number } | { type: 'blob'; kind: BlobKind; offset: number };

const BLOB_KINDS = new Map<number, BlobKind>(
  Object.entries(BLOB_KIND).map(([kind, value]) => [value, kind as BlobKind]),
);

/**
 * Decodes one page stream from chunks of any length. Headers are checked in full before the sink hears of the
 * frame; payload is passed through as views of the chunks, neither collected nor copied. Holds at most one
 * header. Whether pages and regions exist is for the sink to say.
 *
 * There are two ways in, which may alternate: write() takes bytes that were read somewhere; space() says where the next
 * ones belong, if that is guest memory, and filled() that they are there.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #headerBytes = 0;
  #target: PayloadTarget | null = null;
  #payloadLeft = 0;
  #failure: MigrationError | null = null;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** True if the stream may end here: no frame is incomplete. */
  get atBoundary(): boolean {
    return this.#headerBytes === 0 && this.#target === null;
  }

  /**
   * Takes the next bytes of the stream. Throws MigrationError bad-frame, or what the sink threw (internal if that
   * is no MigrationError); the decoder is of no use after that and throws the same again.
   */
  write(chunk: Uint8Array): void {
    this.#guarded(() => this.#decode(chunk));
  }

  /**
   * Where the next bytes of the stream belong: guest memory, if they are payload of pages, at least `leastBytes` of it, and the
   * sink has a place for them. Null: they are to be read elsewhere and given to write(). Throws as write().
   */
  space(leastBytes: number): Uint8Array | null {
    return this.#guarded(() => {
      if (this.#target?.type !== 'pages' || this.#payloadLeft < leastBytes) return null;
      const { run, offset } = this.#target;
      return this.#sink.place?.(run.region, offset, this.#payloadLeft) ?? null;
    });
  }

  /** That many bytes were put into what space() returned last. Throws as write(). */
  filled(bytes: number): void {
    this.#guarded(() => {
      if (this.#target?.type !== 'pages' || bytes > this.#payloadLeft)
        throw badFrame('payload that was not announced');
      this.#advance(this.#target, bytes);
    });
  }

  #guarded<T>(step: () => T): T {
    if (this.#failure !== null) throw this.#failure;
    try {
      return step();
    } catch (thrown) {
      this.#failure = toMigrationError(thrown);
      throw this.#failure;
    }
  }

  #decode(chunk: Uint8Array): void {
    let position = 0;
    while (position < chunk.length) {
      if (this.#target === null) {
        const taken = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - position);
        this.#header.set(chunk.subarray(position, position + taken), this.#headerBytes);
        this.#headerBytes += taken;
        position += taken;
        if (this.#headerBytes === FRAME_HEADER_BYTES) {
          this.#headerBytes = 0;
          this.#begin();
        }
      } else {
        const taken = Math.min(this.#payloadLeft, chunk.length - position);
        this.#deliver(this.#target, chunk.subarray(position, position + taken));
        position += taken;
      }
    }
  }

  #deliver(target: PayloadTarget, chunk: Uint8Array): void {
    if (target.type === 'pages') this.#sink.payload(target.run.region, target.offset, chunk);
    else this.#sink.blob(target.kind, target.offset, chunk);
    this.#advance(target, chunk.length);
  }

  #advance(target: PayloadTarget, bytes: number): void {
    target.offset += bytes;
    this.#payloadLeft -= bytes;
    this.#sink.delivered?.(bytes);
    if (this.#payloadLeft > 0) return;
    this.#target = null;
    if (target.type === 'pages') this.#sink.pagesEnd(target.run);
  }

  /** Checks a complete header and tells the sink. */
  #begin(): void {
    const view = this.#view;
    const type = view.getUint8(0);
    const flags = view.getUint8(1);
    const region = view.getUint16(2, true);
    const payloadBytes = view.getUint32(4, true);
    // exact up to 2^53; what is above is refused by the far lower limits of each field
    const position = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
    const count = view.getUint32(16, true);
    const reserved = view.getUint32(20, true);
    if (flags !== 0) throw badFrame(`flags are ${flags}: none is defined`);
    if (reserved !== 0) throw badFrame(`the reserved field is ${reserved}: it must be 0`);
    switch (type) {
      case FRAME_TYPE.pages: {
        const run = checkedRun(region, position, count, MAX_FRAME_PAYLOAD / PAGE_SIZE);
        requirePayload(payloadBytes, count * PAGE_SIZE, `${count} pages`);
        this.#sink.pages(run);
        this.#payloadLeft = payloadBytes;
        this.#target = { type: 'pages', run, offset: position * PAGE_SIZE };
        return;
      }
      case FRAME_TYPE.zeroPages: {
        const run = checkedRun(region, position, count, MAX_ZERO_PAGES);
        requirePayload(payloadBytes, 0, 'zero pages');
        this.#sink.zeroPages(run);
        return;
      }
      case FRAME_TYPE.blob: {
        const kind = BLOB_KINDS.get(region);
        if (kind === undefined) throw badFrame(`blob kind ${region} is unknown`);
        if (count !== 0) throw badFrame('a blob frame has a page count');
        requireBetween('payload length', payloadBytes, 1, MAX_FRAME_PAYLOAD);
        requireBetween('offset in the blob', position, 0, MAX_BLOB_BYTES - payloadBytes);
        this.#payloadLeft = payloadBytes;
        this.#target = { type: 'blob', kind, offset: position };
        return;
      }
      case FRAME_TYPE.roundEnd:
        if (region !== 0 || count !== 0) throw badFrame('a round-end frame has a region or a page count');
        requirePayload(payloadBytes, 0, 'a round-end frame');
        requireBetween('round', position, 0, MAX_ROUND);
        this.#sink.roundEnd(position);
        return;
      default:
        throw badFrame(`type ${type} is unknown`);
    }
  }
}

function checkedRun(region: number, firstPage: number, pageCount: number, maxPages: number): Run {
  requireBetween('page count', pageCount, 1, maxPages);
  requireBetween('first page', firstPage, 0, MAX_PAGE_NUMBER - pageCount);
  return { region, firstPage, pageCount };
}

function requirePayload(actual: number, expected: number, what: string): void {
  if (actual !== expected) throw badFrame(`payload length is ${actual}: ${what} have ${expected} bytes`);
}

function requireBetween(field: string, value: number, min: number, max: number): void {
  if (value < min || value > max) throw badFrame(`${field} is ${value}: it must be ${min} to ${max}`);
}

function badFrame(reason: string): MigrationError {
  return new MigrationError('bad-frame', `page frame refused: ${reason}`);
}
