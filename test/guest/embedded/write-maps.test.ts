import fc from 'fast-check';
import { test } from 'tap';
import { takeWritten, writeMapBytes } from '../../../agent/guest/embedded/write-maps.js';

void test('takes exactly the marked pages, ascending and disjoint, and leaves the map empty', (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 100 }), (marks) => {
      const map = new Uint8Array(
        new SharedArrayBuffer(2 * writeMapBytes(marks.length)),
        writeMapBytes(marks.length),
      );
      marks.forEach((marked, page) => (map[page] = marked ? 1 : 0));
      const runs = takeWritten(map);
      const pages = runs.flatMap(({ firstPage, pageCount }) =>
        Array.from({ length: pageCount }, (_, index) => firstPage + index),
      );
      const expected = marks.flatMap((marked, page) => (marked ? [page] : []));
      const touching = runs.some((run, index) => {
        const next = runs[index + 1];
        return next !== undefined && run.firstPage + run.pageCount >= next.firstPage;
      });
      return (
        JSON.stringify(pages) === JSON.stringify(expected) && !touching && map.every((byte) => byte === 0)
      );
    }),
  );
  t.end();
});
