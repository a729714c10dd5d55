import fc from 'fast-check';
import t from 'tap';
import { FairShares, type Flow } from '../../../scripts/simulate/fair-shares.js';

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-6 * Math.max(a, b);

void t.test('a flow alone has the slower of its two cards, or its limit', (t) => {
  const shares = new FairShares<string>([100, 40, 100]);
  const flow = shares.add(0, 1, Infinity, 'a');
  t.equal(flow.rate, 0, 'nothing before it is settled');
  t.same(shares.settle(), ['a']);
  t.equal(flow.rate, 40);
  const limited = shares.add(0, 2, 25, 'b');
  t.same(shares.settle(), ['b'], 'there is room for both');
  t.equal(limited.rate, 25);
  t.end();
});

void t.test('a card is full duplex', (t) => {
  const shares = new FairShares<string>([100, 100]);
  const [there, back] = [shares.add(0, 1, Infinity, 'there'), shares.add(1, 0, Infinity, 'back')];
  shares.settle();
  t.same([there.rate, back.rate], [100, 100]);
  t.end();
});

void t.test('what one cannot use the others have', (t) => {
  // Node 0 sends to 1 and 2; 3 and 4 send to 1 as well, so that those have a third of its card each.
  const shares = new FairShares<string>([90, 90, 90, 90, 90]);
  const a = shares.add(0, 1, Infinity, 'a');
  const b = shares.add(0, 2, Infinity, 'b');
  const c = shares.add(3, 1, Infinity, 'c');
  const d = shares.add(4, 1, Infinity, 'd');
  shares.settle();
  t.same([a.rate, b.rate, c.rate, d.rate], [30, 60, 30, 30]);
  shares.remove(d);
  shares.settle();
  t.same([a.rate, b.rate, c.rate], [45, 45, 45]);
  shares.remove(b);
  t.same(shares.settle(), [], 'b held back nobody');
  t.end();
});

/** Progressive filling: all rates rise alike, and those stop whose port is full or whose limit is reached. Slow, and plain. */
function filled(
  capacities: readonly number[],
  flows: readonly { from: number; to: number; limit: number }[],
) {
  const rates = flows.map(() => 0);
  const open = new Set(flows.keys());
  const ports = capacities.flatMap((capacity, node) => [
    { capacity, uses: (flow: number) => flows[flow]!.from === node },
    { capacity, uses: (flow: number) => flows[flow]!.to === node },
  ]);
  while (open.size > 0) {
    let rise = Math.min(...[...open].map((flow) => flows[flow]!.limit - rates[flow]!));
    for (const { capacity, uses } of ports) {
      const users = [...open].filter(uses);
      const used = rates.reduce((sum, rate, flow) => sum + (uses(flow) ? rate : 0), 0);
      if (users.length > 0) rise = Math.min(rise, (capacity - used) / users.length);
    }
    for (const flow of open) rates[flow]! += rise;
    for (const flow of [...open]) {
      const full = ports.some(({ capacity, uses }) => {
        const used = rates.reduce((sum, rate, other) => sum + (uses(other) ? rate : 0), 0);
        return uses(flow) && used >= capacity * (1 - 1e-12);
      });
      if (full || rates[flow]! >= flows[flow]!.limit * (1 - 1e-12)) open.delete(flow);
    }
  }
  return rates;
}

const NODES = 6;
const node = fc.nat(NODES - 1);
const change = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(node, node, fc.constantFrom(Infinity, 5, 17, 120)) },
  { weight: 1, arbitrary: fc.nat() },
);

void t.test('however flows come and go: the shares that filling all of them alike gives', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(10, 25, 40, 100), { minLength: NODES, maxLength: NODES }),
      fc.array(change, { maxLength: 40 }),
      (capacities, changes) => {
        const shares = new FairShares<number>(capacities);
        const flows: { from: number; to: number; limit: number; flow: Flow }[] = [];
        for (const [number, each] of changes.entries()) {
          if (typeof each === 'number') {
            const [gone] = flows.splice(each % Math.max(1, flows.length), 1);
            if (gone) shares.remove(gone.flow);
          } else {
            const [from, to, limit] = each;
            if (from !== to) flows.push({ from, to, limit, flow: shares.add(from, to, limit, number) });
          }
          // Also several changes at one moment.
          if (number % 3 === 2) continue;
          shares.settle();
          const expected = filled(capacities, flows);
          for (const [index, { flow }] of flows.entries()) {
            if (!near(flow.rate, expected[index]!)) throw new Error(`${flow.rate}, not ${expected[index]}`);
          }
        }
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});
