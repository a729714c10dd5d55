import fc from 'fast-check';
import { test } from 'tap';
import type { TrackedRegion } from '../../../../agent/guest/qemu/write-log/tracked-region.js';
import { VanishedPages } from '../../../../agent/guest/qemu/write-log/vanished-pages.js';
import { PAGE_SIZE, type Run } from '../../../../shared/page.js';

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
        .map((page) => ({ firstPage: page - first, pageCount: 1 }));
    },
  }));
}

const runOf = (page: number): Run => ({
  region: Math.floor(page / PAGES),
  firstPage: page % PAGES,
  pageCount: 1,
});

void test('each page that becomes a hole is told once, and none else', (t) => {
  const pages = fc.uniqueArray(fc.nat(2 * PAGES - 1));
  fc.assert(
    fc.property(pages, fc.array(fc.record({ written: pages, punched: pages })), (before, rounds) => {
      const file = new FileModel();
      for (const page of before) file.present.add(page);
      const vanished = new VanishedPages(file.regions);
      vanished.start();
      for (const { written, punched } of rounds) {
        for (const page of written) file.present.add(page);
        const gone = punched.filter((page) => file.present.delete(page));
        const told = vanished.take(written.map(runOf));
        t.same(told, gone.sort((a, b) => a - b).map(runOf));
      }
    }),
  );
  t.end();
});

void test('while all pages are accounted for, holes are not looked for', (t) => {
  const file = new FileModel();
  const vanished = new VanishedPages(file.regions);
  vanished.start();
  const { looks } = file;
  for (let page = 0; page < 2 * PAGES; page += 1) {
    file.present.add(page);
    t.same(vanished.take([runOf(0), runOf(page)]), []);
  }
  t.equal(file.looks, looks);
  t.end();
});
