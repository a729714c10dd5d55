import fc from 'fast-check';
import t from 'tap';
import { RoundBarrier } from '../../agent/target/round-barrier.js';

void t.test('a round is over when all streams have ended it, and not before', (t) => {
  const barrier = new RoundBarrier(3);
  t.same([barrier.end(0, 0), barrier.end(2, 0), barrier.over], [false, false, 0]);
  t.same([barrier.end(0, 1), barrier.end(2, 1)], [false, false], 'some are ahead');
  t.same([barrier.end(1, 0), barrier.over], [true, 1]);
  t.same([barrier.end(1, 1), barrier.over], [true, 2]);
  t.same([barrier.end(1, 2), barrier.end(0, 2), barrier.end(2, 2), barrier.over], [false, false, true, 3]);
  t.end();
});

void t.test('what is not its turn is refused', (t) => {
  const refusal = { code: 'unexpected-message', message: /ended round \d out of order/ };
  const barrier = new RoundBarrier(2);
  t.throws(() => barrier.end(0, 1), refusal, 'one is left out');
  barrier.end(0, 0);
  t.throws(() => barrier.end(0, 0), refusal, 'again');
  barrier.end(0, 1);
  t.throws(() => barrier.end(0, 2), refusal, 'too far ahead');
  t.throws(() => barrier.end(2, 0), refusal, 'there is no such stream');
  t.end();
});

void t.test('in whichever order the streams come', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.array(fc.nat(15), { maxLength: 200 }), (count, order) => {
      const barrier = new RoundBarrier(count);
      const ended = Array.from({ length: count }, () => 0);
      for (const each of order) {
        const stream = each % count;
        const round = ended[stream]!;
        if (round >= Math.min(...ended) + 2) continue;
        const before = Math.min(...ended);
        ended[stream] = round + 1;
        if (barrier.end(stream, round) !== Math.min(...ended) > before) return false;
        if (barrier.over !== Math.min(...ended)) return false;
      }
      return true;
    }),
  );
  t.end();
});
