import fc from 'fast-check';
import { test } from 'tap';
import type { TrackedRegion } from '../../../../agent/guest/qemu/write-log/tracked-region.js';
import { VanishedPages } from '../../../../agent/guest/qemu/write-log/vanished-pages.js';
import { PAGE_SIZE, type Run, unionRuns } from '../../../../shared/page.js';

const PAGES = 16;

/** Two windows of one file, and how often holes were looked for. */
class FileModel {
  readonly present = new Set<number>();
  looks = 0;
  readonly regions: TrackedRegion[] = [0, PAGES].map((first) => ({
    device: 1,
    inode: 1,
    fileOffset: first * PAGE_SIZE,
    memory: new Uint8Array(PAGES * PAGE_SIZE),
    allocatedPages: () => this.present.size,
    populated: () => {
      this.looks += 1;
      return [...this.present]
        .filter((page) => page >= first && page < first + PAGES)
        .sort((a, b) => a - b)
        .map((page) => ({ firstPage: page - first, pageCount: 1 }));
    },
  }));
}

const runOf = (page: number): Run => ({
  region: Math.floor(page / PAGES),
  firstPage: page % PAGES,
  pageCount: 1,
});

void test('each page that becomes a hole is told once, and none else', async (t) => {
  const pages = fc.uniqueArray(fc.nat(2 * PAGES - 1));
  await fc.assert(
    fc.asyncProperty(
      pages,
      fc.array(fc.record({ written: pages, punched: pages })),
      async (before, rounds) => {
        const file = new FileModel();
        for (const page of before) file.present.add(page);
        const vanished = new VanishedPages(file.regions, () => false);
        await vanished.start();
        for (const { written, punched } of rounds) {
          for (const page of written) file.present.add(page);
          const gone = punched.filter((page) => file.present.delete(page));
          const told = await vanished.take(written.map(runOf));
          t.same(told, unionRuns(gone.map(runOf)));
        }
      },
    ),
  );
});

void test('holes that are filled by reads hide none that are made meanwhile', async (t) => {
  const pages = fc.uniqueArray(fc.nat(2 * PAGES - 1));
  const rounds = fc.array(fc.record({ read: pages, punched: pages }), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(pages, rounds, async (before, rounds) => {
      const file = new FileModel();
      for (const page of before) file.present.add(page);
      let runs = true;
      const vanished = new VanishedPages(file.regions, () => runs);
      await vanished.start();
      for (const [round, { read, punched }] of rounds.entries()) {
        const gone = punched.filter((page) => file.present.delete(page));
        for (const page of read) if (!gone.includes(page)) file.present.add(page);
        // It is paused before the last harvest.
        runs = round < rounds.length - 1;
        t.same(await vanished.take([]), unionRuns(gone.map(runOf)));
      }
    }),
  );
});

void test('while all pages are accounted for, holes are not looked for', async (t) => {
  const file = new FileModel();
  const vanished = new VanishedPages(file.regions, () => false);
  await vanished.start();
  const { looks } = file;
  for (let page = 0; page < 2 * PAGES; page += 1) {
    file.present.add(page);
    t.same(await vanished.take([runOf(0), runOf(page)]), []);
  }
  t.equal(file.looks, looks);
});

void test('a guest that stands still is looked at once more, for what it did before', async (t) => {
  const file = new FileModel();
  let runs = true;
  const vanished = new VanishedPages(file.regions, () => runs);
  await vanished.start();
  runs = false;
  const looks = async (): Promise<number> => {
    const before = file.looks;
    t.same(await vanished.take([]), []);
    return file.looks - before;
  };
  t.equal(await looks(), file.regions.length);
  t.equal(await looks(), 0);
});
