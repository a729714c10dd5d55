import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { FrameDecoder, type FrameSink } from '../../shared/protocol/frame-decoder.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../shared/protocol/frame.js';
import { PlacingSink, type Read, readInPlace } from '../support/link-read-in-place.js';
import { joinContent, referenceDecode, type ReferenceResult } from '../support/link-reference-frames.js';

/** The second way into the decoder, by which bytes are read straight into guest memory, mixed with the first. */

/** Content that differs from place to place, so that a byte in a wrong one is seen. */
const NOISE = randomBytes(16 * PAGE_SIZE);

const pagesFrame = fc
  .tuple(fc.nat(200), fc.nat(3), fc.integer({ min: 1, max: 3 }), fc.nat(4096))
  .map(([firstPage, region, pageCount, from]) =>
    Buffer.concat([
      encodePagesHeader({ region, firstPage, pageCount }),
      NOISE.subarray(from, from + pageCount * PAGE_SIZE),
    ]),
  );

const frame = fc.oneof(
  { weight: 4, arbitrary: pagesFrame },
  fc.nat(200).map((firstPage) => Buffer.from(encodeZeroPages({ region: 1, firstPage, pageCount: 2 }))),
  fc
    .integer({ min: 1, max: 60 })
    .map((bytes) => Buffer.concat([encodeBlobHeader('device-state', 7, bytes), NOISE.subarray(0, bytes)])),
  fc.nat(9).map((round) => Buffer.from(encodeRoundEnd(round))),
  // type 0: refused
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(24)) },
);

const read: fc.Arbitrary<Read> = fc.record({
  bytes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3 * PAGE_SIZE + 30 })),
  leastBytes: fc.option(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 9000 }))),
});

function decoded(stream: Buffer, reads: readonly Read[], sink: PlacingSink): ReferenceResult {
  const decoder = new FrameDecoder(sink);
  try {
    readInPlace(decoder, sink, stream, reads);
  } catch (error) {
    if (!(error instanceof MigrationError) || error.code !== 'bad-frame') throw error;
    return { events: joinContent(sink.events), outcome: 'refused' };
  }
  return { events: joinContent(sink.events), outcome: decoder.atBoundary ? 'complete' : 'incomplete' };
}

void t.test('both ways in, in any order, with any cuts: the same as the reference decoder', (t) => {
  const outcomes = new Map<string, number>();
  let placedBytes = 0;
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.array(read, { minLength: 1, maxLength: 8 }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      (frames, cut, reads, placed) => {
        const whole = Buffer.concat(frames);
        const stream = cut % 3 === 0 ? whole.subarray(0, cut % (whole.length + 1)) : whole;
        const expected = referenceDecode(stream);
        const sink = new PlacingSink((region, offset) => placed[(region + offset / PAGE_SIZE) & 3] ?? false);
        const actual = decoded(stream, reads, sink);
        outcomes.set(expected.outcome, (outcomes.get(expected.outcome) ?? 0) + 1);
        placedBytes += sink.placedBytes;
        return JSON.stringify(actual) === JSON.stringify(expected);
      },
    ),
    { numRuns: 2500 },
  );
  for (const outcome of ['complete', 'incomplete', 'refused']) {
    t.ok((outcomes.get(outcome) ?? 0) > 100, `${outcome}: ${outcomes.get(outcome)}`);
  }
  t.ok(placedBytes > 2 ** 20, `${placedBytes} bytes were read in place`);
  t.end();
});

void t.test('a page cut at every offset, read in place on either side of the cut', (t) => {
  const stream = Buffer.concat([
    encodePagesHeader({ region: 1, firstPage: 2, pageCount: 1 }),
    NOISE.subarray(0, PAGE_SIZE),
    encodeRoundEnd(0),
  ]);
  const expected = JSON.stringify(referenceDecode(stream));
  for (let cut = 1; cut < stream.length; cut += 1) {
    for (const [before, after] of [
      [null, 1],
      [1, null],
      [1, 1],
    ] as const) {
      const reads = [
        { bytes: cut, leastBytes: before },
        { bytes: stream.length, leastBytes: after },
      ];
      const actual = JSON.stringify(decoded(stream, reads, new PlacingSink(() => true)));
      if (actual !== expected) return t.fail(`cut at ${cut}: ${actual}`);
    }
  }
  t.end();
});

const HEADER = encodePagesHeader({ region: 0, firstPage: 0, pageCount: 2 });

void t.test('there is space for payload of pages alone, and for all that is left of it', (t) => {
  const sink = new PlacingSink(() => true);
  const decoder = new FrameDecoder(sink);
  t.equal(decoder.space(1), null, 'before a header');
  decoder.write(HEADER.subarray(0, 23));
  t.equal(decoder.space(1), null, 'within one');
  decoder.write(HEADER.subarray(23));
  t.equal(decoder.space(1)?.length, 2 * PAGE_SIZE);
  t.equal(decoder.space(2 * PAGE_SIZE)?.length, 2 * PAGE_SIZE);
  t.equal(decoder.space(2 * PAGE_SIZE + 1), null, 'less than is worth it');
  sink.arrived(100);
  decoder.filled(100);
  t.equal(decoder.space(1)?.length, 2 * PAGE_SIZE - 100);
  t.equal(decoder.atBoundary, false);
  decoder.filled(2 * PAGE_SIZE - 100);
  t.equal(decoder.atBoundary, true);
  t.equal(decoder.space(1), null, 'behind the frame');
  decoder.write(encodeBlobHeader('device-state', 0, 10_000));
  t.equal(decoder.space(1), null, 'a blob is gathered elsewhere');
  t.end();
});

void t.test('a sink without places is asked for none', (t) => {
  const sink: FrameSink = sinkOfNothing();
  delete sink.place;
  const decoder = new FrameDecoder(sink);
  decoder.write(HEADER);
  t.equal(decoder.space(1), null);
  t.end();
});

void t.test('more than was announced is refused, and nothing after it is taken', (t) => {
  const ends: unknown[] = [];
  const sink = { ...sinkOfNothing(), pagesEnd: (run: unknown) => ends.push(run) };
  const tooMuch = new FrameDecoder(sink);
  tooMuch.write(HEADER);
  const refusal = { code: 'bad-frame', message: /payload that was not announced/ };
  t.throws(() => tooMuch.filled(2 * PAGE_SIZE + 1), refusal);
  for (const again of [() => tooMuch.filled(1), () => tooMuch.space(1), () => tooMuch.write(HEADER)]) {
    t.throws(again, refusal, 'it stays so');
  }
  const outOfTurn = new FrameDecoder(sink);
  t.throws(() => outOfTurn.filled(1), refusal, 'no frame has begun');
  const ofBlob = new FrameDecoder(sink);
  ofBlob.write(encodeBlobHeader('device-state', 0, 10));
  t.throws(() => ofBlob.filled(1), refusal, 'a blob has no place');
  t.same(ends, []);
  t.end();
});

void t.test('what a sink throws when it is asked for a place, or told of the end, ends the stream', (t) => {
  const error = new MigrationError('unexpected-message', 'not now');
  const thrower = () => {
    throw error;
  };
  const placing = new FrameDecoder({ ...sinkOfNothing(), place: thrower });
  placing.write(HEADER);
  t.throws(() => placing.space(1), { code: 'unexpected-message' });
  t.throws(() => placing.write(new Uint8Array(1)), { code: 'unexpected-message' }, 'nothing more is taken');
  const ending = new FrameDecoder({ ...sinkOfNothing(), pagesEnd: thrower });
  ending.write(HEADER);
  t.throws(() => ending.filled(2 * PAGE_SIZE), { code: 'unexpected-message' });
  t.throws(() => ending.space(1), { code: 'unexpected-message' });
  t.end();
});

function sinkOfNothing() {
  const nothing = () => undefined;
  const sink: Required<FrameSink> = {
    pages: nothing,
    payload: nothing,
    place: (_region, _offset, bytes) => new Uint8Array(bytes),
    delivered: nothing,
    pagesEnd: nothing,
    zeroPages: nothing,
    blob: nothing,
    roundEnd: nothing,
  };
  return sink;
}
