import { test } from 'tap';
import fc from 'fast-check';
import { PAGE_SIZE } from '../../shared/page.js';
import { isZeroPage, zeroRunEnd } from '../../agent/guest/zero-pages.js';

void test('a page is zero only if each of its bytes is', (t) => {
  for (const offset of [0, 1, 7, 2048, PAGE_SIZE - 1]) {
    const memory = new Uint8Array(new SharedArrayBuffer(3 * PAGE_SIZE));
    memory[PAGE_SIZE + offset] = 1;
    t.same(
      [0, 1, 2].map((page) => isZeroPage(memory, page)),
      [true, false, true],
    );
  }
  t.end();
});

void test('works on a view that does not start at the start of its buffer', (t) => {
  const memory = new Uint8Array(new SharedArrayBuffer(3 * PAGE_SIZE), PAGE_SIZE);
  memory[2 * PAGE_SIZE - 1] = 9;
  t.same(
    [0, 1].map((page) => isZeroPage(memory, page)),
    [true, false],
  );
  t.end();
});

void test('a page outside of the memory is a RangeError', (t) => {
  const memory = new Uint8Array(2 * PAGE_SIZE);
  for (const page of [-1, 2, 1.5, NaN]) t.throws(() => isZeroPage(memory, page), { name: 'RangeError' });
  t.end();
});

void test('zeroRunEnd cuts any memory into alternating pieces that cover it', (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 24 }), (zero) => {
      const memory = new Uint8Array(new SharedArrayBuffer(zero.length * PAGE_SIZE));
      zero.forEach((isZero, page) => {
        if (!isZero) memory[page * PAGE_SIZE + ((page * 997) % PAGE_SIZE)] = 1;
      });
      let page = 0;
      let previous: boolean | undefined;
      while (page < zero.length) {
        const end = zeroRunEnd(memory, page, zero.length);
        if (end <= page || zero[page] === previous) return false;
        if (zero.slice(page, end).some((kind) => kind !== zero[page])) return false;
        previous = zero[page];
        page = end;
      }
      return page === zero.length;
    }),
  );
  t.end();
});
