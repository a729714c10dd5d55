import { MigrationError } from '../../shared/errors.js';
import { FrameDecoder } from '../../shared/protocol/frame-decoder.js';
import { BLOB_KIND } from '../../shared/protocol/frame.js';
import { joinContent, type ReferenceEvent, type ReferenceResult } from './link-reference-frames.js';

/**
 * Feeds `chunks` to the product's decoder and returns what came out, in the form of the reference decoder. Throws
 * what the decoder throws unless it is bad-frame.
 */
export function decodedFrames(chunks: readonly Uint8Array[]): ReferenceResult {
  const events: ReferenceEvent[] = [];
  const text = (chunk: Uint8Array) => Buffer.from(chunk).toString('latin1');
  const decoder = new FrameDecoder({
    pages: (run) => events.push({ event: 'pages', run }),
    payload: (region, offset, chunk) => {
      events.push({ event: 'payload', region, offset, content: text(chunk) });
    },
    pagesEnd: (run) => events.push({ event: 'pagesEnd', run }),
    zeroPages: (run) => events.push({ event: 'zeroPages', run }),
    blob: (kind, offset, chunk) => {
      events.push({ event: 'blob', kind: BLOB_KIND[kind], offset, content: text(chunk) });
    },
    roundEnd: (round) => events.push({ event: 'roundEnd', round }),
  });
  try {
    for (const chunk of chunks) decoder.write(chunk);
  } catch (error) {
    if (!(error instanceof MigrationError) || error.code !== 'bad-frame') throw error;
    return { events: joinContent(events), outcome: 'refused' };
  }
  return { events: joinContent(events), outcome: decoder.atBoundary ? 'complete' : 'incomplete' };
}

/** `bytes` cut at `cuts` (any order, any number, clamped). */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const sorted = [...cuts].map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let start = 0;
  for (const cut of [...sorted, bytes.length]) {
    pieces.push(bytes.subarray(start, cut));
    start = cut;
  }
  return pieces;
}
