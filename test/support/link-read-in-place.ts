import type { FrameDecoder, FrameSink } from '../../shared/protocol/frame-decoder.js';
import { BLOB_KIND } from '../../shared/protocol/frame.js';
import type { ReferenceEvent } from './link-reference-frames.js';

/** One read of a stream: of so many bytes, by the one way in or by the other. */
export interface Read {
  readonly bytes: number;
  /** Into what space() returns for that many at least; null: by write(). */
  readonly leastBytes: number | null;
}

/** A sink that records what it is told, and gives memory out for those frames of pages that `placed` says. */
export class PlacingSink implements FrameSink {
  readonly events: ReferenceEvent[] = [];
  /** Bytes that were read straight into what was given out. */
  placedBytes = 0;
  readonly #placed: (region: number, offset: number) => boolean;
  #given: { region: number; offset: number; memory: Uint8Array } | null = null;

  constructor(placed: (region: number, offset: number) => boolean) {
    this.#placed = placed;
  }

  readonly pages: FrameSink['pages'] = (run) => this.events.push({ event: 'pages', run });
  readonly pagesEnd: FrameSink['pagesEnd'] = (run) => this.events.push({ event: 'pagesEnd', run });
  readonly zeroPages: FrameSink['zeroPages'] = (run) => this.events.push({ event: 'zeroPages', run });
  readonly roundEnd: FrameSink['roundEnd'] = (round) => this.events.push({ event: 'roundEnd', round });

  payload(region: number, offset: number, chunk: Uint8Array): void {
    this.events.push({ event: 'payload', region, offset, content: text(chunk) });
  }

  blob(kind: keyof typeof BLOB_KIND, offset: number, chunk: Uint8Array): void {
    this.events.push({ event: 'blob', kind: BLOB_KIND[kind], offset, content: text(chunk) });
  }

  place(region: number, offset: number, bytes: number): Uint8Array | null {
    if (!this.#placed(region, offset)) return null;
    const memory = new Uint8Array(bytes);
    this.#given = { region, offset, memory };
    return memory;
  }

  /** The reader has put bytes at the start of the memory that was given out last. */
  arrived(bytes: number): void {
    const { region, offset, memory } = this.#given!;
    this.events.push({ event: 'payload', region, offset, content: text(memory.subarray(0, bytes)) });
    this.placedBytes += bytes;
  }
}

/** Feeds a stream to a decoder as a socket would that asks where to read to. Throws what the decoder does. */
export function readInPlace(
  decoder: FrameDecoder,
  sink: PlacingSink,
  stream: Uint8Array,
  reads: readonly Read[],
): void {
  let at = 0;
  for (let turn = 0; at < stream.length; turn += 1) {
    const { bytes, leastBytes } = reads[turn % reads.length]!;
    const space = leastBytes === null ? null : decoder.space(leastBytes);
    if (space !== null && space.length < leastBytes!) {
      throw new Error(`${space.length} bytes of space where ${leastBytes} were the least`);
    }
    const taken = Math.min(bytes, stream.length - at, space?.length ?? Infinity);
    const chunk = stream.subarray(at, at + taken);
    at += taken;
    if (space === null) {
      decoder.write(chunk);
    } else {
      space.set(chunk);
      sink.arrived(taken);
      decoder.filled(taken);
    }
  }
}

function text(chunk: Uint8Array): string {
  return Buffer.from(chunk).toString('latin1');
}
