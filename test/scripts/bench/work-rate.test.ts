import t from 'tap';
import { workPerSecond, workRates, workReports } from '../../../scripts/bench/work-rate.js';

void t.test('reports are whole lines, with where they are', (t) => {
  const printed = 'rk 1 1\nwork 1000 8\r\nnoise\nwork 21000 16\nno work 3 3\nwork 41000 2';
  t.same(workReports(printed, 100), [
    { start: 107, end: 120, microseconds: 1000, pages: 8 },
    { start: 126, end: 140, microseconds: 21_000, pages: 16 },
  ]);
  t.same(workReports(''), []);
  t.end();
});

void t.test('a rate is that between the first and the last report inside of a window', (t) => {
  const reports = [0, 1, 2, 3].map((each) => ({
    start: each * 10,
    end: each * 10 + 10,
    microseconds: each * 20_000,
    pages: each * each * 100,
  }));
  t.equal(workPerSecond(reports, 0, 40), 900 / 0.06);
  t.equal(workPerSecond(reports, 1, 39), 300 / 0.02, 'what is cut off does not count');
  t.equal(workPerSecond(reports, 0, 15), null, 'one report has no rate');
  t.equal(workPerSecond([], 0, 40), null);
  t.same(workRates(reports, { running: 0, requested: 20, moved: 40, end: 40 }), null);
  t.same(workRates([...reports, ...reports], { running: 0, requested: 20, moved: 40, end: 40 }), null);
  t.end();
});

void t.test('before, during and after', (t) => {
  const reports = [1, 2, 4, 5, 7, 9].map((pages, each) => ({
    start: each * 10,
    end: each * 10 + 10,
    microseconds: each * 1e6,
    pages,
  }));
  t.same(workRates(reports, { running: 0, requested: 20, moved: 40, end: 60 }), {
    before: 1,
    during: 1,
    after: 2,
  });
  t.end();
});
