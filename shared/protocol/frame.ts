import { MigrationError } from '../errors.js';
import { PAGE_SIZE, type Run } from '../page.js';

/**
 * Page frames: what a page stream carries. A stream is a sequence of bytes: a header of 24 bytes, the payload that
 * it announces, the next header, and so on. Message boundaries of the connection beneath carry no meaning, so the
 * same frames travel over a WebSocket or a plain TCP connection. All numbers are little-endian.
 *
 *   offset size  pages               zero-pages          blob                 round-end
 *        0    1  type: 1             2                   3                    4
 *        1    1  flags: 0            0                   0                    0
 *        2    2  region              region              kind of blob         0
 *        4    4  payload length      0                   payload length       0
 *        8    8  first page          first page          offset in the blob   round
 *       16    4  page count          page count          0                    0
 *       20    4  reserved: 0         0                   0                    0
 *
 * This module only encodes and touches no socket; see frame-decoder.ts for the other direction.
 */
export const FRAME_HEADER_BYTES = 24;

/** Values of the type field. Zero is no type, so that zeroed bytes mean nothing. */
export const FRAME_TYPE = { pages: 1, zeroPages: 2, blob: 3, roundEnd: 4 } as const;

/** Largest payload of one frame: bounds how long one frame holds up what follows it in the stream. */
export const MAX_FRAME_PAYLOAD = 2 ** 20;

/**
 * Most pages in one zero-pages frame (64 MiB): bounds the work that 24 bytes from a peer can cause, which
 * holds the receiver's event loop while it lasts.
 */
export const MAX_ZERO_PAGES = 16_384;

/** Pages of a region are numbered below this (2^40 pages are 4 PiB), so that byte offsets stay exact integers. */
export const MAX_PAGE_NUMBER = 2 ** 40;

/** Largest blob (device state, program image), whose size its frames don't tell: bounds what a receiver has to hold. */
export const MAX_BLOB_BYTES = 64 * 2 ** 20;

/** Rounds are numbered up to this: far beyond any configured limit, and an exact integer. */
export const MAX_ROUND = 2 ** 32 - 1;

/** Kinds of blobs with their value in the header. */
export const BLOB_KIND = { 'device-state': 1, 'program-image': 2 } as const;

/** What a blob is: data of the guest beside its memory that travels in band. */
export type BlobKind = keyof typeof BLOB_KIND;

interface HeaderFields {
  type: number;
  region?: number;
  payloadBytes?: number;
  position: number;
  count?: number;
}

function header(fields: HeaderFields): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, fields.type);
  view.setUint16(2, fields.region ?? 0, true);
  view.setUint32(4, fields.payloadBytes ?? 0, true);
  view.setUint32(8, fields.position % 2 ** 32, true);
  view.setUint32(12, Math.floor(fields.position / 2 ** 32), true);
  view.setUint32(16, fields.count ?? 0, true);
  return bytes;
}

function assertInteger(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new MigrationError('bad-frame', `${what} is ${value}: a frame carries ${min} to ${max}`);
  }
}

function assertRun(run: Run, maxPages: number): void {
  assertInteger('region', run.region, 0, 0xffff);
  assertInteger('page count', run.pageCount, 1, maxPages);
  assertInteger('first page', run.firstPage, 0, MAX_PAGE_NUMBER - run.pageCount);
}

/** Header of a frame that carries the content of `run`, which follows as pageCount * 4096 bytes. */
export function encodePagesHeader(run: Run): Uint8Array {
  assertRun(run, MAX_FRAME_PAYLOAD / PAGE_SIZE);
  return header({
    type: FRAME_TYPE.pages,
    region: run.region,
    payloadBytes: run.pageCount * PAGE_SIZE,
    position: run.firstPage,
    count: run.pageCount,
  });
}

/** A whole frame: the pages of `run` are all zero. */
export function encodeZeroPages(run: Run): Uint8Array {
  assertRun(run, MAX_ZERO_PAGES);
  return header({
    type: FRAME_TYPE.zeroPages,
    region: run.region,
    position: run.firstPage,
    count: run.pageCount,
  });
}

/** Header of a frame that carries the `pieceBytes` bytes of a blob from `offset` on. */
export function encodeBlobHeader(kind: BlobKind, offset: number, pieceBytes: number): Uint8Array {
  assertInteger('length of the piece', pieceBytes, 1, MAX_FRAME_PAYLOAD);
  assertInteger('offset in the blob', offset, 0, MAX_BLOB_BYTES - pieceBytes);
  return header({
    type: FRAME_TYPE.blob,
    region: BLOB_KIND[kind],
    payloadBytes: pieceBytes,
    position: offset,
  });
}

/** A whole frame: the stream carries nothing more of this round. */
export function encodeRoundEnd(round: number): Uint8Array {
  assertInteger('round', round, 0, MAX_ROUND);
  return header({ type: FRAME_TYPE.roundEnd, position: round });
}
