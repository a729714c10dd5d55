import t from 'tap';
import { AbortedAnswers } from '../../agent/target/aborted-answers.js';

void t.test('answers are remembered by peer, the latest of them', (t) => {
  const answers = new AbortedAnswers();
  t.notOk(answers.has('a', 'm-1'));
  answers.remember('a', 'm-1');
  answers.remember('a', 'm-1');
  t.ok(answers.has('a', 'm-1'));
  t.notOk(answers.has('b', 'm-1'));
  for (let n = 0; n < 1000; n += 1) answers.remember('hostile', `m-${n}`);
  t.ok(answers.has('a', 'm-1'), 'one that asks for many does not drive out others');
  t.notOk(answers.has('hostile', 'm-1'));
  t.ok(answers.has('hostile', 'm-999'));
  for (let n = 0; n < 1000; n += 1) answers.remember(`hostile-${n}`, 'm-1');
  t.notOk(answers.has('hostile', 'm-999'), 'bounded in peers as well');
  t.end();
});
