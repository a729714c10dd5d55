import t from 'tap';
import { gapsIn } from '../../../scripts/lab/guest-transcript.js';

void t.test('numbers that follow each other from 1 on have no gaps', (t) => {
  t.same(gapsIn([]), []);
  t.same(gapsIn([1, 2, 3]), []);
  t.end();
});

void t.test('a number that is missing, comes twice or too early is told', (t) => {
  t.same(gapsIn([2, 3]), ['2 where 1 was due']);
  t.same(gapsIn([1, 3, 4]), ['3 where 2 was due']);
  t.same(gapsIn([1, 2, 2, 3]), ['2 where 3 was due']);
  t.same(gapsIn([1, NaN, 2]), ['NaN where 2 was due', '2 where NaN was due']);
  t.end();
});
