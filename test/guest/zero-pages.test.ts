import { test } from 'tap';
import fc from 'fast-check';
import { PAGE_SIZE } from '../../shared/page.js';
import { zeroPieces } from '../../agent/guest/zero-pages.js';

/** 'z' for each page that is said to be zero, '.' for each other. */
function kinds(memory: Uint8Array, firstPage = 0, endPage = memory.length / PAGE_SIZE): string {
  return [...zeroPieces(memory, firstPage, endPage)]
    .map(({ zero, pageCount }) => (zero ? 'z' : '.').repeat(pageCount))
    .join('');
}

void test('a page is zero only if each of its bytes is', (t) => {
  for (const offset of [0, 1, 3, 4, 7, 2048, PAGE_SIZE - 1]) {
    const memory = new Uint8Array(new SharedArrayBuffer(3 * PAGE_SIZE));
    memory[PAGE_SIZE + offset] = 1;
    t.equal(kinds(memory), 'z.z');
  }
  t.end();
});

void test('works on views that start anywhere in their buffer', (t) => {
  for (const start of [PAGE_SIZE, 1, 2, 4]) {
    const memory = new Uint8Array(new SharedArrayBuffer(start + 2 * PAGE_SIZE), start);
    memory[2 * PAGE_SIZE - 1] = 9;
    t.equal(kinds(memory), 'z.');
  }
  t.end();
});

void test('pages outside of the memory are a RangeError', (t) => {
  const memory = new Uint8Array(2 * PAGE_SIZE);
  for (const [first, end] of [
    [-1, 1],
    [0, 3],
    [0.5, 2],
    [NaN, 2],
    [0, NaN],
  ] as const) {
    t.throws(() => kinds(memory, first, end), { name: 'RangeError' });
  }
  t.end();
});

void test('long runs of zeros are one piece', (t) => {
  const memory = new Uint8Array(1000 * PAGE_SIZE);
  t.same([...zeroPieces(memory, 3, 1000)], [{ firstPage: 3, pageCount: 997, zero: true }]);
  memory[700 * PAGE_SIZE + 5] = 1;
  t.same(
    [...zeroPieces(memory, 3, 1000)].map(({ pageCount }) => pageCount),
    [697, 1, 299],
  );
  t.end();
});

void test('cuts any memory into alternating pieces that cover it', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 24 }),
      fc.nat(23),
      fc.nat(23),
      (zero, a, b) => {
        const memory = new Uint8Array(new SharedArrayBuffer(zero.length * PAGE_SIZE));
        zero.forEach((isZero, page) => {
          if (!isZero) memory[page * PAGE_SIZE + ((page * 997) % PAGE_SIZE)] = 1;
        });
        const [first, end] = [a, b].map((page) => page % (zero.length + 1)).sort((x, y) => x - y) as [
          number,
          number,
        ];
        const pieces = [...zeroPieces(memory, first, end)];
        const expected = zero.map((isZero) => (isZero ? 'z' : '.')).join('');
        return (
          kinds(memory, first, end) === expected.slice(first, end) &&
          pieces.every((piece, i) => i === 0 || piece.zero !== pieces[i - 1]!.zero)
        );
      },
    ),
  );
  t.end();
});
