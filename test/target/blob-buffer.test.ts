import fc from 'fast-check';
import t from 'tap';
import { BlobBuffer } from '../../agent/target/blob-buffer.js';

void t.test('pieces in order make the whole', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.array(fc.nat(50)), (blob, sizes) => {
      const buffer = new BlobBuffer('the state', 200);
      const piece = new Uint8Array(200);
      let offset = 0;
      for (const size of [...sizes, blob.length]) {
        const part = blob.subarray(offset, offset + size);
        // what is delivered is valid during the call only
        piece.fill(0xee).set(part);
        buffer.add(offset, piece.subarray(0, part.length));
        offset += part.length;
      }
      return Buffer.compare(buffer.bytes, blob) === 0;
    }),
  );
  t.end();
});

void t.test('what does not follow is refused', (t) => {
  const half = () => {
    const buffer = new BlobBuffer('the state', 10);
    buffer.add(0, new Uint8Array(5));
    return buffer;
  };
  const piece = new Uint8Array(5);
  t.throws(() => half().add(0, piece), { code: 'bad-frame', message: /do not follow the 5/ }, 'again');
  t.throws(() => half().add(6, piece), { code: 'bad-frame' }, 'a gap');
  t.throws(() => half().add(5, new Uint8Array(6)), {
    code: 'limit-exceeded',
    message: /the state of 11 bytes or more .* 10/,
  });
  t.end();
});

void t.test('the smallest pieces cost what they hold, and the buffers that they came in are let go', (t) => {
  const total = 2 ** 20;
  const buffer = new BlobBuffer('the state', total);
  const piece = Buffer.allocUnsafe(1);
  const before = process.memoryUsage();
  for (let offset = 0; offset < total; offset += 1) {
    piece[0] = offset % 251;
    buffer.add(offset, piece);
  }
  const after = process.memoryUsage();
  const taken = buffer.bytes;
  t.equal(taken.length, total);
  t.ok(taken.every((byte, at) => byte === at % 251));
  t.equal(taken.buffer.byteLength, total, 'one buffer, no larger than the blob');
  t.ok(after.heapUsed - before.heapUsed < 32 * total, 'nothing is kept for each piece');
  t.end();
});
