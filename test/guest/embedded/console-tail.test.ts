import fc from 'fast-check';
import { test } from 'tap';
import { CONSOLE_TAIL_BYTES, ConsoleTail } from '../../../agent/guest/embedded/console-tail.js';

void test('keeps the last 64 KiB at their positions', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(50_000), { maxLength: 6 }), fc.nat(300_000), (lengths, position) => {
      const tail = new ConsoleTail();
      const all: number[] = [];
      for (const length of lengths) {
        const chunk = Uint8Array.from({ length }, (_, index) => (all.length + index) % 251);
        tail.append(chunk);
        for (const byte of chunk) all.push(byte);
      }
      const from = Math.min(Math.max(position, all.length - CONSOLE_TAIL_BYTES, 0), all.length);
      const restored = new ConsoleTail();
      restored.load(tail.end, tail.read(tail.start));
      return [tail, restored].every(
        (each) =>
          each.end === all.length &&
          each.start === Math.max(0, all.length - CONSOLE_TAIL_BYTES) &&
          Buffer.compare(each.read(position), Uint8Array.from(all.slice(from))) === 0,
      );
    }),
    { numRuns: 30 },
  );
  t.end();
});
