import t from 'tap';
import { OVERTAKE_LIMIT } from '../../../shared/lock-limits.js';
import type { Admission, Requested } from '../../../scripts/simulate/admission.js';
import { NodeSlots } from '../../../scripts/simulate/node-slots.js';
import { PairLocks } from '../../../scripts/simulate/pair-locks.js';

/** Asks for moves between nodes, and knows which have started. */
class Asker {
  readonly started: number[] = [];
  readonly #admission: Admission;
  readonly #asked: Requested[] = [];

  constructor(make: (start: (migration: Requested) => void) => Admission) {
    this.#admission = make(({ number }) => this.started.push(number));
  }

  ask(from: number, to: number): number {
    const migration = { number: this.#asked.length, from, to };
    this.#asked.push(migration);
    this.#admission.request(migration);
    return migration.number;
  }

  end(number: number): void {
    this.#admission.release(this.#asked[number]!);
  }
}

void t.test('the pair lock: one at a time per node, in order, whichever side it is', (t) => {
  const asker = new Asker((start) => new PairLocks(start));
  const first = asker.ask(0, 1);
  const second = asker.ask(2, 0);
  const third = asker.ask(1, 0);
  const fourth = asker.ask(3, 4);
  t.same(asker.started, [first, fourth], 'who shares no node does not wait');
  asker.end(first);
  t.same(asker.started, [first, fourth, second]);
  asker.end(second);
  t.same(asker.started, [first, fourth, second, third]);
  t.end();
});

void t.test(
  'the pair lock: a migration that waits for one node is overtaken at the other, a bounded number of times',
  (t) => {
    const asker = new Asker((start) => new PairLocks(start));
    asker.ask(0, 1);
    const patient = asker.ask(1, 2);
    let last = asker.ask(2, 3);
    let overtaken = 0;
    for (; asker.started.includes(last); overtaken += 1) {
      const next = asker.ask(2, 3);
      asker.end(last);
      last = next;
    }
    t.equal(overtaken, OVERTAKE_LIMIT);
    t.notOk(asker.started.includes(patient), 'node 2 is idle now, and kept for it');
    asker.end(0);
    t.ok(asker.started.includes(patient));
    asker.end(patient);
    t.ok(asker.started.includes(last));
    t.end();
  },
);

void t.test('so many at once per node, the first that has room at both', (t) => {
  const asker = new Asker((start) => new NodeSlots(4, 2, start));
  const [a, b] = [asker.ask(0, 1), asker.ask(0, 2)];
  const waiting = asker.ask(3, 0);
  const other = asker.ask(1, 2);
  const last = asker.ask(1, 2);
  t.same(asker.started, [a, b, other], 'nodes 0, 1 and 2 are full');
  asker.end(b);
  t.same(asker.started, [a, b, other, waiting], 'node 1 is full, so the last one waits on');
  asker.end(a);
  t.same(asker.started, [a, b, other, waiting, last]);
  t.end();
});
