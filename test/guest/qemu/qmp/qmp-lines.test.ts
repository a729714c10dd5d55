import fc from 'fast-check';
import { test } from 'tap';
import { MAX_LINE_BYTES, QmpLines } from '../../../../agent/guest/qemu/qmp/qmp-lines.js';

void test('lines come whole, wherever the stream is cut', (t) => {
  const stream = Buffer.from('{"a":"größe €"}\r\n\r\n{"b":1}\n \n{"c":"𐍈"}\r\n');
  for (let first = 0; first <= stream.length; first += 1) {
    for (let second = first; second <= stream.length; second += 1) {
      const lines = new QmpLines();
      const pieces = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      const found = pieces.flatMap((piece) => [...lines.push(piece)]);
      if (found.join('|') !== '{"a":"größe €"}|{"b":1}|{"c":"𐍈"}') {
        t.fail(`cut at ${first} and ${second}: ${found.join('|')}`);
      }
    }
  }
  t.pass('all of them');
  t.end();
});

void test('any text survives', (t) => {
  const text = fc.string({ unit: 'binary' }).map((line) => line.replaceAll('\n', '').trim());
  fc.assert(
    fc.property(fc.array(text), fc.integer({ min: 1, max: 50 }), (texts, size) => {
      const stream = Buffer.from(texts.map((line) => `${line}\n`).join(''));
      const lines = new QmpLines();
      const found: string[] = [];
      for (let at = 0; at < stream.length; at += size)
        found.push(...lines.push(stream.subarray(at, at + size)));
      t.same(
        found,
        texts.filter((line) => line !== ''),
      );
    }),
    { numRuns: 50 },
  );
  t.end();
});

void test('a line without end is not collected for ever', (t) => {
  const lines = new QmpLines();
  const piece = Buffer.alloc(2 ** 20, 'x');
  for (let bytes = 0; bytes < MAX_LINE_BYTES; bytes += piece.length) t.same([...lines.push(piece)], []);
  t.throws(() => [...lines.push(piece)], { end: 'protocol', message: /more than 8388608 bytes/ });
  t.end();
});
