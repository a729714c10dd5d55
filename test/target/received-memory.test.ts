import fc from 'fast-check';
import t from 'tap';
import { hashPage } from '../../agent/guest/page-hash.js';
import { ReceivedMemory } from '../../agent/target/received-memory.js';
import { PAGE_SIZE } from '../../shared/page.js';

const regions = () =>
  [4, 2].map((pages, i) => ({ name: `ram${i}`, memory: new Uint8Array(pages * PAGE_SIZE) }));

void t.test('a run outside of the guest is refused', (t) => {
  const memory = new ReceivedMemory(regions(), 'off');
  const anyNumber = fc.oneof(fc.integer({ min: -2, max: 8 }), fc.maxSafeInteger(), fc.double());
  fc.assert(
    fc.property(fc.record({ region: anyNumber, firstPage: anyNumber, pageCount: anyNumber }), (run) => {
      const pages = [4, 2][run.region];
      const inside =
        pages !== undefined &&
        [run.firstPage, run.pageCount].every(Number.isInteger) &&
        run.firstPage >= 0 &&
        run.pageCount >= 1 &&
        run.firstPage + run.pageCount <= pages;
      try {
        memory.check(run);
        return inside;
      } catch (error) {
        return !inside && (error as { code?: string }).code === 'out-of-range';
      }
    }),
    {
      numRuns: 2000,
      examples: [[{ region: 0, firstPage: 3, pageCount: 1 }], [{ region: 0, firstPage: 4, pageCount: 1 }]],
    },
  );
  t.end();
});

void t.test('hashes tell what was applied, whatever the guest did since, only for verify after', (t) => {
  for (const verify of ['off', 'after'] as const) {
    const guest = regions();
    const memory = new ReceivedMemory(guest, verify);
    const run = { region: 1, firstPage: 1, pageCount: 1 };
    memory.write(1, PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(5));
    memory.applied(run);
    const arrived = hashPage(guest[1]!.memory, 1);
    guest[1]!.memory.fill(9);
    const now = hashPage(guest[1]!.memory, 1);
    const view = new DataView(memory.hashes({ region: 1, firstPage: 0, pageCount: 2 }).buffer);
    t.equal(view.getBigUint64(8, true), verify === 'after' ? arrived : now, verify);
    t.equal(memory.pagesApplied, 1);
    t.throws(() => memory.hashes({ region: 1, firstPage: 1, pageCount: 2 }), { code: 'out-of-range' });
    memory.writeZeros(run);
    memory.applied(run);
    t.equal(guest[1]!.memory[PAGE_SIZE], 0);
    t.equal(guest[1]!.memory[0], 9);
    t.equal(memory.pagesApplied, 2);
  }
  t.end();
});
