import fc from 'fast-check';
import t from 'tap';
import { copyBytes } from '../../agent/link/copy-bytes.js';

void t.test('does what set() does, into shared memory, at any alignment', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 60 }),
      fc.nat(80),
      fc.nat(59),
      (source, offset, start) => {
        const bytes = source.subarray(start % source.length);
        const memory = new Uint8Array(new SharedArrayBuffer(128), 8, 100).fill(0xee);
        const expected = Uint8Array.from(memory);
        const fits = offset + bytes.length <= memory.length;
        if (fits) expected.set(bytes, offset);
        try {
          copyBytes(memory, offset, bytes);
          if (!fits) return false;
        } catch (error) {
          if (fits || !(error instanceof RangeError)) throw error;
        }
        const edges = new Uint8Array(memory.buffer);
        return (
          Buffer.compare(memory, expected) === 0 &&
          [...edges.subarray(0, 8), ...edges.subarray(108)].every((byte) => byte === 0)
        );
      },
    ),
  );
  t.pass();
  t.end();
});
