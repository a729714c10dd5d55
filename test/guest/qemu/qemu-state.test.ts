import fc from 'fast-check';
import { test } from 'tap';
import {
  CONSOLE_TAIL_BYTES,
  decodeQemuState,
  type QemuCondition,
  QemuStateEncoder,
  type QemuStatePart,
} from '../../../agent/guest/qemu/qemu-state.js';
import { arriving } from '../../support/array-guest.js';

const CONDITION: QemuCondition = { condition: 'running', consoleEnd: 12, consoleTail: Buffer.from('abc') };

/** A state as an encoder hands it out, with a stream of these pieces. */
function encoded(condition: QemuCondition, ...stream: Uint8Array[]): Buffer[] {
  const pieces: Buffer[] = [];
  const encoder = new QemuStateEncoder((piece) => pieces.push(Buffer.from(piece)));
  for (const piece of stream) encoder.stream(piece);
  encoder.end(condition);
  return pieces;
}

const SAMPLE = Buffer.concat(encoded(CONDITION, Buffer.from([1, 2]), Buffer.from([3, 4])));

/** What comes of it when it arrives cut at these places, taken modulo its length. */
async function decoded(bytes: Buffer, cuts: readonly number[] = []): Promise<QemuStatePart[]> {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  const pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
  const parts: QemuStatePart[] = [];
  for await (const part of decodeQemuState(arriving(pieces))) {
    parts.push(part.type === 'stream' ? { ...part, bytes: Buffer.from(part.bytes) } : part);
  }
  return parts;
}

function streamOf(parts: readonly QemuStatePart[]): Buffer {
  return Buffer.concat(parts.flatMap((part) => (part.type === 'stream' ? [part.bytes] : [])));
}

void test('the encoded form', (t) => {
  const description = '{"condition":"running","consoleEnd":12}';
  t.equal(
    SAMPLE.toString('hex'),
    [
      '564d5153' + '00000001',
      '00000001' + '00000002' + '0102',
      '00000002' + '00000027' + Buffer.from(description).toString('hex'),
      '00000003' + '00000003' + '616263',
      '00000001' + '00000002' + '0304',
    ].join(''),
  );
  t.end();
});

void test('a stream is handed out while it is written, all but its end', (t) => {
  const pieces: number[] = [];
  const encoder = new QemuStateEncoder((piece) => pieces.push(piece.length));
  encoder.stream(new Uint8Array(10));
  encoder.stream(new Uint8Array(20));
  t.same(pieces, [8, 18]);
  encoder.flush();
  t.same(pieces, [8, 18, 28]);
  encoder.flush();
  encoder.stream(new Uint8Array(30));
  t.same(pieces, [8, 18, 28]);
  encoder.end({ ...CONDITION, consoleTail: new Uint8Array() });
  t.same(pieces, [8, 18, 28, 47, 8, 38]);
  t.end();
});

void test('what is encoded is decoded, however it arrives; its end comes after the condition', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        condition: fc.constantFrom('running' as const, 'paused' as const, 'finished' as const),
        beforeTail: fc.nat(),
        consoleTail: fc.uint8Array({ maxLength: 200 }),
        stream: fc.array(fc.uint8Array({ minLength: 1, maxLength: 100 }), { minLength: 1, maxLength: 4 }),
        cuts: fc.array(fc.nat(), { maxLength: 10 }),
      }),
      async ({ condition, beforeTail, consoleTail, stream, cuts }) => {
        const consoleEnd = beforeTail + consoleTail.length;
        const bytes = Buffer.concat(encoded({ condition, consoleEnd, consoleTail }, ...stream));
        const parts = await decoded(bytes, cuts);
        const at = parts.findIndex(({ type }) => type === 'condition');
        const found = parts[at] as QemuCondition;
        return (
          streamOf(parts).equals(Buffer.concat(stream)) &&
          streamOf(parts.slice(at)).equals(stream.at(-1)!) &&
          found.condition === condition &&
          found.consoleEnd === consoleEnd &&
          Buffer.compare(found.consoleTail, consoleTail) === 0
        );
      },
    ),
    { numRuns: 200 },
  );
});

void test('one that is cut or longer is refused', async (t) => {
  // After the console's tail more may follow, or nothing.
  const whole = [SAMPLE.length - 10, SAMPLE.length];
  for (let length = 0; length < SAMPLE.length; length += 1) {
    if (whole.includes(length)) continue;
    const failure = { code: 'load-failed', message: /it breaks off/ };
    await t.rejects(decoded(SAMPLE.subarray(0, length)), failure, `${length} bytes`);
  }
  await t.rejects(decoded(Buffer.concat([SAMPLE, Buffer.alloc(1)])), { code: 'load-failed' });
});

void test('what is wrong is named', async (t) => {
  const description = 18;
  const tail = description + 8 + 39;
  const cases: { what: string; change: (bytes: Buffer) => void; message: RegExp }[] = [
    { what: 'magic', change: (bytes) => bytes.fill(0, 0, 4), message: /does not begin as one/ },
    { what: 'version', change: (bytes) => bytes.writeUInt32BE(2, 4), message: /version is 2, .* is 1/ },
    { what: 'kind', change: (bytes) => bytes.writeUInt32BE(9, 8), message: /kind 9 where 1 or 2 belongs/ },
    {
      what: 'a tail without a description',
      change: (bytes) => bytes.writeUInt32BE(3, description),
      message: /kind 3 where 1 or 2 belongs/,
    },
    {
      what: 'two descriptions',
      change: (bytes) => bytes.writeUInt32BE(2, tail),
      message: /kind 2 where 3 belongs/,
    },
    {
      what: 'a description behind the tail',
      change: (bytes) => bytes.writeUInt32BE(2, tail + 11),
      message: /kind 2 where 1 belongs/,
    },
    {
      what: 'length of the description',
      change: (bytes) => bytes.writeUInt32BE(0xffffffff, description + 4),
      message: /description has 4294967295 bytes/,
    },
    {
      what: 'length of the tail',
      change: (bytes) => bytes.writeUInt32BE(CONSOLE_TAIL_BYTES + 1, tail + 4),
      message: /tail has 65537 bytes/,
    },
    { what: 'JSON', change: (bytes) => bytes.write('!', description + 8), message: /description is no JSON/ },
    {
      what: 'condition',
      change: (bytes) => bytes.write('sunning', description + 8 + 14),
      message: /condition: /,
    },
    {
      what: 'another field',
      change: (bytes) => bytes.write('consoleEmd', description + 8 + 24),
      message: /consoleEmd/,
    },
  ];
  for (const { what, change, message } of cases) {
    const bytes = Buffer.from(SAMPLE);
    change(bytes);
    await t.rejects(decoded(bytes), { code: 'load-failed', message }, what);
  }
  const early = Buffer.concat(encoded({ ...CONDITION, consoleEnd: 2 }));
  await t.rejects(decoded(early), { message: /ends at 2, before the 3 bytes/ });
});

void test('no bytes make it fail in another way', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(SAMPLE.length - 1), fc.nat(255), fc.array(fc.nat()), async (at, value, cuts) => {
      const bytes = Buffer.from(SAMPLE);
      bytes[at] = value;
      try {
        await decoded(bytes, cuts);
      } catch (error) {
        t.match(error, { code: 'load-failed' });
      }
    }),
    { numRuns: 500 },
  );
});

void test('what fails as it arrives fails as it did', async (t) => {
  const state = decodeQemuState(arriving([SAMPLE.subarray(0, 20)], new Error('a test')));
  t.match((await state.next()).value, { type: 'stream', bytes: Buffer.from([1, 2]) });
  await t.rejects(state.next(), { message: 'a test' });
});
