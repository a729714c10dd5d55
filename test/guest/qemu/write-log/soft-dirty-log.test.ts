import { test } from 'tap';
import { runInMachine } from './node-machine.js';

void test('under a kernel with soft-dirty bits each harvest is what was written', async (t) => {
  const printed = await runInMachine(t, 'test/guest/qemu/write-log/soft-dirty-checks.js');
  const facts = new Map(
    (printed.match(/^\{"fact".*\}/gm) ?? []).map((line) => {
      const { fact, value } = JSON.parse(line) as { fact: string; value: unknown };
      return [fact, value];
    }),
  );
  // Debian 12 has Linux 6.1, later ones have what is better.
  if (facts.get('best') !== 'userfaultfd') {
    t.equal(facts.get('best'), 'soft-dirty', printed);
    t.match(facts.get('why'), /userfaultfd: Linux 6\.\S+ has no PAGEMAP_SCAN/);
  }
  t.same(facts.get('at the start'), []);
  t.equal(facts.get('wrong harvest'), null);
  t.same(facts.get('given back'), [7]);
  t.match(facts.get('mapped again'), /mapped guest memory anew/);
  t.equal(facts.get('ended'), 'guest-failed');
});
