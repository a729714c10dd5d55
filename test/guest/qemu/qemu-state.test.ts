import fc from 'fast-check';
import { test } from 'tap';
import {
  CONSOLE_TAIL_BYTES,
  decodeQemuState,
  encodeQemuState,
  type QemuState,
} from '../../../agent/guest/qemu/qemu-state.js';

const SAMPLE: QemuState = {
  condition: 'running',
  consoleEnd: 12,
  consoleTail: Buffer.from('abc'),
  stream: Buffer.from([1, 2, 3, 4]),
};

/** Offset of the first byte after the header. */
const BODY = 20;

void test('the encoded form', (t) => {
  const description = '{"condition":"running","consoleEnd":12}';
  const header = '564d5153' + '00000001' + '00000027' + '00000003' + '00000004';
  const body = Buffer.concat([Buffer.from(description + 'abc'), Buffer.from([1, 2, 3, 4])]);
  t.equal(encodeQemuState(SAMPLE).toString('hex'), header + body.toString('hex'));
  t.end();
});

void test('what is encoded is decoded', (t) => {
  const states = fc.record({
    condition: fc.constantFrom('running' as const, 'paused' as const, 'finished' as const),
    beforeTail: fc.nat(),
    consoleTail: fc.uint8Array({ maxLength: 200 }),
    stream: fc.uint8Array({ maxLength: 500 }),
  });
  fc.assert(
    fc.property(states, ({ condition, beforeTail, consoleTail, stream }) => {
      const state = { condition, consoleEnd: beforeTail + consoleTail.length, consoleTail, stream };
      const decoded = decodeQemuState(encodeQemuState(state));
      t.ok(Buffer.compare(decoded.consoleTail, consoleTail) === 0);
      t.ok(Buffer.compare(decoded.stream, stream) === 0);
      t.equal(decoded.condition, condition);
      t.equal(decoded.consoleEnd, state.consoleEnd);
    }),
    { numRuns: 50 },
  );
  t.end();
});

void test('one that is cut or longer is refused', (t) => {
  const bytes = encodeQemuState(SAMPLE);
  for (let length = 0; length < bytes.length; length += 1) {
    t.throws(() => decodeQemuState(bytes.subarray(0, length)), { code: 'load-failed' }, `${length} bytes`);
  }
  t.throws(() => decodeQemuState(Buffer.concat([bytes, Buffer.alloc(1)])), { code: 'load-failed' });
  t.end();
});

void test('what is wrong is named', (t) => {
  const cases: { what: string; change: (bytes: Buffer) => void; message: RegExp }[] = [
    { what: 'magic', change: (bytes) => bytes.fill(0, 0, 4), message: /does not begin as one/ },
    { what: 'version', change: (bytes) => bytes.writeUInt32BE(2, 4), message: /version is 2, .* is 1/ },
    {
      what: 'length of the description',
      change: (bytes) => bytes.writeUInt32BE(0xffffffff, 8),
      message: /description has 4294967295 bytes/,
    },
    {
      what: 'length of the tail',
      change: (bytes) => bytes.writeUInt32BE(CONSOLE_TAIL_BYTES + 1, 12),
      message: /tail has 65537 bytes/,
    },
    {
      what: 'length of the stream',
      change: (bytes) => bytes.writeUInt32BE(5, 16),
      message: /has 66 bytes and its parts take 67/,
    },
    { what: 'JSON', change: (bytes) => bytes.write('!', BODY), message: /description is no JSON/ },
    { what: 'condition', change: (bytes) => bytes.write('sunning', BODY + 14), message: /condition: / },
    { what: 'another field', change: (bytes) => bytes.write('consoleEmd', BODY + 24), message: /consoleEmd/ },
  ];
  for (const { what, change, message } of cases) {
    const bytes = encodeQemuState(SAMPLE);
    change(bytes);
    t.throws(() => decodeQemuState(bytes), { code: 'load-failed', message }, what);
  }
  const early = encodeQemuState({ ...SAMPLE, consoleEnd: 2 });
  t.throws(() => decodeQemuState(early), { message: /ends at 2, before the 3 bytes/ });
  t.end();
});

void test('no bytes make it fail in another way', (t) => {
  const valid = encodeQemuState(SAMPLE);
  fc.assert(
    fc.property(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }), (offset, value) => {
      const bytes = Buffer.from(valid);
      bytes[offset] = value;
      try {
        decodeQemuState(bytes);
      } catch (error) {
        t.match(error, { code: 'load-failed' });
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});
