import fc from 'fast-check';
import t from 'tap';
import { countPages, type Run, RunList, unionRuns } from '../../shared/page.js';

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

void t.test('a list joins what touches, and what is near where there would be too many', (t) => {
  const list = new RunList(3);
  for (const page of [0, 1, 5, 7]) list.add(0, page, 1);
  t.strictSame(
    list.runs,
    [
      { region: 0, firstPage: 0, pageCount: 2 },
      { region: 0, firstPage: 5, pageCount: 1 },
      { region: 0, firstPage: 7, pageCount: 1 },
    ],
    'as many as may be',
  );
  list.add(0, 20, 1);
  t.strictSame(
    list.runs,
    [
      { region: 0, firstPage: 0, pageCount: 2 },
      { region: 0, firstPage: 5, pageCount: 3 },
      { region: 0, firstPage: 20, pageCount: 1 },
    ],
    'the smallest gap is closed',
  );
  for (const region of [1, 2, 3, 4]) list.add(region, 0, 1);
  t.strictSame(list.runs[0], { region: 0, firstPage: 0, pageCount: 21 });
  t.equal(list.runs.length, 5, 'regions stay apart');
  t.end();
});

void t.test('a list refuses what does not come after what it has', (t) => {
  const list = new RunList();
  list.add(1, 10, 5);
  list.add(1, 15, 1);
  for (const [region, page] of [
    [1, 15],
    [1, 3],
    [0, 99],
  ] as const) {
    t.throws(() => list.add(region, page, 1), RangeError, `page ${page} of region ${region}`);
  }
  t.strictSame(list.runs, [{ region: 1, firstPage: 10, pageCount: 6 }]);
  t.end();
});

void t.test('a list loses no page, has no more runs than it may, and is in order', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ gap: fc.nat(9), pageCount: fc.integer({ min: 1, max: 4 }) }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 12 }),
      (steps, most) => {
        const list = new RunList(most);
        const added: Run[] = [];
        let page = 0;
        for (const { gap, pageCount } of steps) {
          page += gap;
          list.add(0, page, pageCount);
          added.push({ region: 0, firstPage: page, pageCount });
          page += pageCount;
        }
        const listed = pagesOf(list.runs);
        return (
          [...pagesOf(added)].every((each) => listed.has(each)) &&
          list.runs.length <= most &&
          JSON.stringify(unionRuns(list.runs)) === JSON.stringify(list.runs)
        );
      },
    ),
  );
  t.end();
});
