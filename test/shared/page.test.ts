import fc from 'fast-check';
import t from 'tap';
import { countPages, type Run, unionRuns } from '../../shared/page.js';

const anyRun: fc.Arbitrary<Run> = fc.record({
  region: fc.nat(2),
  firstPage: fc.nat(40),
  pageCount: fc.nat(8),
});

function pagesOf(runs: readonly Run[]): Set<string> {
  return new Set(
    runs.flatMap(({ region, firstPage, pageCount }) =>
      Array.from({ length: pageCount }, (_, i) => `${region}:${firstPage + i}`),
    ),
  );
}

void t.test('union joins what overlaps or touches', (t) => {
  const run = (region: number, firstPage: number, pageCount: number): Run => ({
    region,
    firstPage,
    pageCount,
  });
  t.strictSame(unionRuns([]), []);
  t.strictSame(unionRuns([run(0, 4, 2), run(0, 0, 4)]), [run(0, 0, 6)], 'touching, out of order');
  t.strictSame(unionRuns([run(0, 0, 10), run(0, 2, 3)]), [run(0, 0, 10)], 'one inside of the other');
  t.strictSame(unionRuns([run(0, 0, 2), run(0, 3, 1)]), [run(0, 0, 2), run(0, 3, 1)], 'a gap stays');
  t.strictSame(unionRuns([run(0, 0, 2), run(1, 2, 1)]), [run(0, 0, 2), run(1, 2, 1)], 'regions stay apart');
  t.strictSame(unionRuns([run(0, 5, 0)]), [], 'nothing is nothing');
  t.end();
});

void t.test('union has the same pages, once each, ascending, with gaps between its runs', (t) => {
  fc.assert(
    fc.property(fc.array(anyRun, { maxLength: 20 }), (runs) => {
      const input = JSON.stringify(runs);
      const union = unionRuns(runs);
      if (JSON.stringify(runs) !== input) return false;
      const pages = pagesOf(union);
      const wanted = pagesOf(runs);
      if (pages.size !== wanted.size || [...wanted].some((page) => !pages.has(page))) return false;
      if (countPages(union) !== pages.size) return false;
      return union.every((run, i) => {
        const before = union[i - 1];
        if (run.pageCount < 1) return false;
        if (!before) return true;
        return before.region < run.region || before.firstPage + before.pageCount < run.firstPage;
      });
    }),
  );
  t.end();
});
