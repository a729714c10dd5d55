import t from 'tap';
import { Slots } from '../../agent/admission/slots.js';

const never = new AbortController().signal;

/** Work that goes on until it is told to end. */
function work() {
  const events: string[] = [];
  const ends = new Map<string, () => void>();
  const begin = (name: string) => async () => {
    events.push(name);
    await new Promise<void>((resolve) => ends.set(name, resolve));
    return name;
  };
  return { events, ends, begin };
}

await t.test('so many at once, so many of one party, the rest in order', async (t) => {
  const slots = new Slots(3, 2);
  const { events, ends, begin } = work();
  const all = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((name) => slots.run(name[0]!, never, begin(name)));
  await Promise.resolve();
  t.same(events, ['a1', 'a2', 'b1'], 'one party leaves room for others');
  ends.get('b1')!();
  await all[3];
  t.same(events, ['a1', 'a2', 'b1', 'b2']);
  ends.get('a2')!();
  await all[1];
  t.same(events, ['a1', 'a2', 'b1', 'b2', 'a3']);
  for (const name of ['a1', 'b2', 'a3']) ends.get(name)!();
  await Promise.all([all[0], all[2], all[4]]);
  ends.get('c1')!();
  t.equal(await all[5], 'c1');
});

await t.test('who gives up leaves its place, and what fails its slot', async (t) => {
  const slots = new Slots(1, 1);
  const { events, ends, begin } = work();
  const first = slots.run('a', never, begin('first'));
  const leaving = new AbortController();
  const second = slots.run('a', leaving.signal, begin('second'));
  const third = slots.run('b', never, () => Promise.reject(new Error('no')));
  const fourth = slots.run('a', never, begin('fourth'));
  leaving.abort(new Error('gone'));
  await t.rejects(second, { message: 'gone' });
  await t.rejects(slots.run('a', leaving.signal, begin('late')), { message: 'gone' });
  ends.get('first')!();
  await first;
  await t.rejects(third, { message: 'no' });
  while (!ends.has('fourth')) await Promise.resolve();
  ends.get('fourth')!();
  await fourth;
  t.same(events, ['first', 'fourth']);
});
