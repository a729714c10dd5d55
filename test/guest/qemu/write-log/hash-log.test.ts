import fc from 'fast-check';
import { type Test, test } from 'tap';
import { HashLog } from '../../../../agent/guest/qemu/write-log/hash-log.js';
import type { TrackedRegion } from '../../../../agent/guest/qemu/write-log/tracked-region.js';
import { PAGE_SIZE, type Run } from '../../../../shared/page.js';
import { pagesOf } from './writer-process.js';

const PAGES = 32;

/** A region with holes; to look into one is a failure, since that would fill it. */
class HolyRegion implements TrackedRegion {
  readonly device = 1;
  readonly inode = 1;
  readonly fileOffset = 0;
  readonly memory = new Uint8Array(PAGES * PAGE_SIZE);
  readonly present = new Set<number>();

  write(page: number, value: number): void {
    this.memory.fill(value, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    this.present.add(page);
  }

  /** What a hole has in `memory` stands for anything: nobody may see it. */
  punch(page: number): void {
    this.memory.fill(0xee, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    this.present.delete(page);
  }

  content(page: number): number {
    return this.present.has(page) ? this.memory[page * PAGE_SIZE]! : 0;
  }

  allocatedPages(): number {
    return this.present.size;
  }

  populated(firstPage: number, pageCount: number): { firstPage: number; pageCount: number }[] {
    return [...this.present]
      .filter((page) => page >= firstPage && page < firstPage + pageCount)
      .sort((a, b) => a - b)
      .map((page) => ({ firstPage: page, pageCount: 1 }));
  }
}

async function started(t: Test, regions = 1): Promise<{ regions: HolyRegion[]; log: HashLog }> {
  const made = Array.from({ length: regions }, () => new HolyRegion());
  const log = new HashLog(made, 'a test');
  await log.start();
  t.teardown(() => log.stop());
  return { regions: made, log };
}

const run = (page: number, region = 0, pageCount = 1): Run => ({ region, firstPage: page, pageCount });

void test('pages that were never sent are told if they are not zero', async (t) => {
  const { regions: [region], log } = await started(t); // prettier-ignore
  region!.write(3, 1);
  region!.write(4, 0);
  t.same(pagesOf(await log.harvest()), [3]);
  t.same(pagesOf(await log.harvest()), [3], 'until they are sent');
  log.capture(run(3));
  t.same(await log.harvest(), []);
});

void test('a page that changes back after it was read, and was sent in between, is told', async (t) => {
  const { regions: [region], log } = await started(t); // prettier-ignore
  region!.write(3, 1);
  await log.harvest();
  region!.write(3, 2);
  t.equal(log.capture(run(3))[0], 2);
  region!.write(3, 1);
  t.same(pagesOf(await log.harvest()), [3]);
});

void test('a page that was sent and is a hole now is told, and captured as zero', async (t) => {
  const { regions: [region], log } = await started(t); // prettier-ignore
  for (const page of [3, 4, 5]) region!.write(page, 7);
  log.capture(run(3, 0, 3));
  region!.punch(4);
  t.same(pagesOf(await log.harvest()), [4]);
  const copy = log.capture(run(3, 0, 3));
  t.same(
    [0, 1, 2].map((page) => copy[page * PAGE_SIZE]),
    [7, 0, 7],
  );
  t.same(await log.harvest(), []);
});

void test('a capture stands still', async (t) => {
  const { regions: [region], log } = await started(t); // prettier-ignore
  region!.write(0, 1);
  const copy = log.capture(run(0));
  region!.write(0, 2);
  t.ok(copy.every((byte) => byte === 1));
});

void test('a target that is sent what harvests tell ends equal, however it is interleaved', async (t) => {
  const page = fc.nat(PAGES - 1);
  const step = fc.oneof(
    fc.record({ do: fc.constant('write' as const), region: fc.nat(1), page, value: fc.nat(2) }),
    fc.record({ do: fc.constant('punch' as const), region: fc.nat(1), page }),
    fc.record({ do: fc.constant('send' as const), region: fc.nat(1), page }),
    fc.record({ do: fc.constant('harvest' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { regions, log } = await started(t, 2);
      const target = regions.map(() => new Uint8Array(PAGES));
      const send = (sent: Run): void => {
        const copy = log.capture(sent);
        for (let i = 0; i < sent.pageCount; i += 1) {
          target[sent.region]![sent.firstPage + i] = copy[i * PAGE_SIZE]!;
        }
      };
      for (const next of steps) {
        if (next.do === 'write') regions[next.region]!.write(next.page, next.value);
        else if (next.do === 'punch') regions[next.region]!.punch(next.page);
        else if (next.do === 'send') send(run(next.page, next.region));
        else (await log.harvest()).forEach(send);
      }
      (await log.harvest()).forEach(send);
      regions.forEach((region, index) => {
        t.same(
          [...target[index]!],
          Array.from({ length: PAGES }, (_, at) => region.content(at)),
        );
      });
    }),
    { numRuns: 50 },
  );
});

void test('without a start there is nothing to compare with', async (t) => {
  const log = new HashLog([new HolyRegion()], 'a test');
  await t.rejects(log.harvest(), { code: 'tracking-failed' });
  await log.start();
  await log.stop();
  await log.stop();
  await t.rejects(log.harvest(), { code: 'tracking-failed' });
  t.throws(() => log.capture(run(0)), { code: 'tracking-failed' });
});
