import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { MigrationError } from '../../shared/errors.js';
import { FrameDecoder } from '../../shared/protocol/frame-decoder.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
  MAX_BLOB_BYTES,
  MAX_PAGE_NUMBER,
  MAX_ZERO_PAGES,
} from '../../shared/protocol/frame.js';
import { cutAt, decodedFrames } from '../support/link-decoded-frames.js';
import { referenceDecode, referenceHeader, type ReferenceHeader } from '../support/link-reference-frames.js';

const HEADER: ReferenceHeader = {
  type: 1,
  flags: 0,
  region: 0,
  payloadBytes: 4096,
  position: 0n,
  count: 1,
  reserved: 0,
};

/** One frame of each type, 4 KiB of payload. */
const SAMPLE = Buffer.concat([
  encodeZeroPages({ region: 3, firstPage: 5, pageCount: 9 }),
  encodePagesHeader({ region: 1, firstPage: 2 ** 35, pageCount: 1 }),
  randomBytes(4096),
  encodeBlobHeader('device-state', 10, 30),
  randomBytes(30),
  encodeRoundEnd(7),
]);

void t.test('a stream cut in two at every offset decodes to the same', (t) => {
  const whole = referenceDecode(SAMPLE);
  t.equal(whole.outcome, 'complete');
  t.equal(whole.events.length, 6);
  const expected = JSON.stringify(whole);
  for (let cut = 0; cut <= SAMPLE.length; cut += 1) {
    const actual = JSON.stringify(decodedFrames(cutAt(SAMPLE, [cut])));
    if (actual !== expected) return t.fail(`cut at ${cut}: ${actual}`);
  }
  t.end();
});

void t.test('a stream byte by byte decodes to the same', (t) => {
  t.same(decodedFrames([...SAMPLE].map((byte) => Uint8Array.of(byte))), referenceDecode(SAMPLE));
  t.end();
});

void t.test('a stream that ends at any offset gives what is complete and never an error', (t) => {
  for (let end = 0; end <= SAMPLE.length; end += 1) {
    const part = SAMPLE.subarray(0, end);
    const actual = JSON.stringify(decodedFrames([part]));
    if (actual !== JSON.stringify(referenceDecode(part))) return t.fail(`end at ${end}: ${actual}`);
  }
  t.equal(decodedFrames([SAMPLE]).outcome, 'complete');
  t.end();
});

const edges = (...values: number[]) => fc.constantFrom(...values);

/** Headers about the limits: some are valid, most are nearly so. */
const header: fc.Arbitrary<ReferenceHeader> = fc.record({
  type: fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 4 }) }, fc.integer({ min: 0, max: 255 })),
  flags: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 255 })),
  region: fc.oneof(edges(0, 1, 2, 3, 65535), fc.integer({ min: 0, max: 65535 })),
  payloadBytes: fc.oneof(edges(0, 1, 40, 4096, 8192, 2 ** 20, 2 ** 20 + 4096, 2 ** 32 - 1)),
  position: fc.oneof(
    edges(0, 1, 2, 2 ** 40 - 2, 2 ** 40 - 1, 2 ** 40, 2 ** 32 - 1, 2 ** 32).map(BigInt),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  count: fc.oneof(
    edges(0, 1, 2, 256, 257, 4096, 16384, 16385, 2 ** 26, 2 ** 26 + 1, 2 ** 32 - 1),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  ),
  reserved: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, edges(1, 2 ** 32 - 1)),
});

const pageContent = fc.integer({ min: 0, max: 255 }).map((byte) => Buffer.alloc(4096, byte));

const frame: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 2, arbitrary: header.map(referenceHeader) },
  fc
    .tuple(fc.nat(2 ** 40 - 1), fc.nat(65535), pageContent)
    .map(([firstPage, region, content]) =>
      Buffer.concat([encodePagesHeader({ region, firstPage, pageCount: 1 }), content]),
    ),
  fc
    .tuple(fc.nat(2 ** 40 - MAX_ZERO_PAGES), fc.nat(63), fc.integer({ min: 1, max: MAX_ZERO_PAGES }))
    .map(([firstPage, region, pageCount]) => Buffer.from(encodeZeroPages({ region, firstPage, pageCount }))),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(1000))
    .map(([content, before]) =>
      Buffer.concat([encodeBlobHeader('program-image', before, content.length), content]),
    ),
  fc.nat(2 ** 32 - 1).map((round) => Buffer.from(encodeRoundEnd(round))),
);

/** Changes to the bytes of a stream; positions and lengths are taken modulo its length. */
const mutation = fc.oneof(
  fc.record({ do: fc.constant('flip' as const), at: fc.nat(), mask: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ do: fc.constant('insert' as const), at: fc.nat(), bytes: fc.uint8Array({ maxLength: 30 }) }),
  fc.record({ do: fc.constant('delete' as const), at: fc.nat(), count: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ do: fc.constant('end' as const), at: fc.nat() }),
);
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;

function mutated(stream: Buffer, mutations: readonly Mutation[]): Buffer {
  let bytes = Buffer.from(stream);
  for (const change of mutations) {
    // headers are what matters: half of the positions fall into the first of them
    const at =
      bytes.length === 0 ? 0 : (change.at % (change.at % 2 === 0 ? bytes.length : 24)) % bytes.length;
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
    if (change.do === 'flip' && bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ change.mask;
    else if (change.do === 'insert') bytes = Buffer.concat([before, change.bytes, after]);
    else if (change.do === 'delete') bytes = Buffer.concat([before, after.subarray(change.count)]);
    else if (change.do === 'end') bytes = before;
  }
  return bytes;
}

void t.test('any bytes, in any pieces: the same as the reference decoder, and no other error', (t) => {
  const outcomes = new Map<string, number>();
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 3 }),
      fc.array(mutation, { maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      (frames, mutations, cuts) => {
        const stream = mutated(Buffer.concat(frames), mutations);
        const expected = referenceDecode(stream);
        outcomes.set(expected.outcome, (outcomes.get(expected.outcome) ?? 0) + 1);
        const actual = decodedFrames(cutAt(stream, cuts));
        return JSON.stringify(actual) === JSON.stringify(expected);
      },
    ),
    { numRuns: 60_000 },
  );
  // a generator that drifts towards one outcome proves little
  for (const outcome of ['complete', 'incomplete', 'refused']) {
    t.ok((outcomes.get(outcome) ?? 0) > 5000, `${outcome}: ${outcomes.get(outcome)}`);
  }
  t.end();
});

void t.test('each way to be wrong is named', (t) => {
  const wrong: [Partial<ReferenceHeader>, RegExp][] = [
    [{ type: 0 }, /type 0 is unknown/],
    [{ type: 5 }, /type 5 is unknown/],
    [{ flags: 1 }, /flags are 1: none is defined/],
    [{ reserved: 9 }, /reserved field is 9/],
    [{ count: 0, payloadBytes: 0 }, /page count is 0: it must be 1 to 256/],
    [{ count: 257, payloadBytes: 257 * 4096 }, /page count is 257/],
    [{ payloadBytes: 4095 }, /payload length is 4095: 1 pages have 4096 bytes/],
    [{ position: 2n ** 40n }, /first page is 1099511627776/],
    [{ position: 2n ** 64n - 1n }, /first page is/],
    [{ type: 2 }, /payload length is 4096: zero pages have 0 bytes/],
    [{ type: 2, payloadBytes: 0, count: 16_385 }, /page count is 16385/],
    [{ type: 3, region: 0 }, /blob kind 0 is unknown/],
    [{ type: 3, region: 3 }, /blob kind 3 is unknown/],
    [{ type: 3, region: 1, count: 1, payloadBytes: 1 }, /has a page count/],
    [{ type: 3, region: 1, count: 0, payloadBytes: 0 }, /payload length is 0: it must be 1 to 1048576/],
    [
      { type: 3, region: 1, count: 0, payloadBytes: 6, position: BigInt(MAX_BLOB_BYTES - 5) },
      /offset in the blob is 67108859/,
    ],
    [{ type: 3, region: 1, count: 0, payloadBytes: 2 ** 20 + 1 }, /payload length is 1048577/],
    [{ type: 4 }, /a region or a page count/],
    [{ type: 4, count: 0 }, /payload length is 4096/],
    [{ type: 4, count: 0, payloadBytes: 0, position: 2n ** 32n }, /round is 4294967296/],
  ];
  for (const [fields, message] of wrong) {
    const decoder = decoderOfNothing();
    t.throws(() => decoder.write(referenceHeader({ ...HEADER, ...fields })), { code: 'bad-frame', message });
  }
  t.end();
});

void t.test('a decoder that has failed stays failed', (t) => {
  const decoder = decoderOfNothing();
  t.throws(() => decoder.write(new Uint8Array(24)), { code: 'bad-frame' });
  t.throws(() => decoder.write(encodeRoundEnd(1)), { code: 'bad-frame', message: /type 0/ });
  t.end();
});

void t.test('what a sink throws comes out, and the frame is not delivered', (t) => {
  const decoder = decoderOfNothing(new MigrationError('out-of-range', 'region 9 does not exist'));
  t.throws(() => decoder.write(encodePagesHeader({ region: 9, firstPage: 0, pageCount: 1 })), {
    code: 'out-of-range',
  });
  t.end();
});

void t.test('encoding refuses what no frame can carry', (t) => {
  const run = { region: 0, firstPage: 0, pageCount: 1 };
  t.throws(() => encodePagesHeader({ ...run, pageCount: 257 }), { code: 'bad-frame' });
  t.throws(() => encodePagesHeader({ ...run, region: -1 }), { code: 'bad-frame' });
  t.throws(() => encodePagesHeader({ ...run, firstPage: MAX_PAGE_NUMBER }), { code: 'bad-frame' });
  t.throws(() => encodeZeroPages({ ...run, pageCount: 0 }), { code: 'bad-frame' });
  t.throws(() => encodeZeroPages({ ...run, firstPage: 0.5 }), { code: 'bad-frame' });
  t.throws(() => encodeBlobHeader('device-state', 0, 0), { code: 'bad-frame' });
  t.throws(() => encodeBlobHeader('device-state', MAX_BLOB_BYTES - 2, 3), { code: 'bad-frame' });
  t.throws(() => encodeRoundEnd(-1), { code: 'bad-frame' });
  t.end();
});

function decoderOfNothing(error: MigrationError | null = null): FrameDecoder {
  const nothing = () => {
    if (error) throw error;
  };
  return new FrameDecoder({
    pages: nothing,
    payload: nothing,
    pagesEnd: nothing,
    zeroPages: nothing,
    blob: nothing,
    roundEnd: nothing,
  });
}
