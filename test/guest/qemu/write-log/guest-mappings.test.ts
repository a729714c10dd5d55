import { test } from 'tap';
import { guestMappings, runsIn } from '../../../../agent/guest/qemu/write-log/guest-mappings.js';
import type { TrackedRegion } from '../../../../agent/guest/qemu/write-log/tracked-region.js';
import { parseMaps } from '../../../../agent/system/process-maps.js';
import { countPages, MAX_RUNS, PAGE_SIZE } from '../../../../shared/page.js';

function region(inode: number, firstPage: number, pages: number): TrackedRegion {
  const memory = new Uint8Array(pages * PAGE_SIZE);
  return {
    device: 0x1b,
    inode,
    fileOffset: firstPage * PAGE_SIZE,
    memory,
    populated: () => [],
    allocatedPages: () => 0,
  };
}

/** One file of 8 pages in two windows, and a second file of 4. */
const REGIONS = [region(7, 0, 6), region(7, 6, 2), region(9, 0, 4)];

const mapped = (...lines: string[]): unknown[] => guestMappings(parseMaps(`${lines.join('\n')}\n`), REGIONS);

void test('a mapping is cut at the windows of its file', (t) => {
  t.same(mapped('10000-18000 rw-s 00000000 00:1b 7 /dev/shm/a'), [
    { start: 0x10000, end: 0x16000, region: 0, firstPage: 0 },
    { start: 0x16000, end: 0x18000, region: 1, firstPage: 0 },
  ]);
  t.end();
});

void test('pieces that the kernel has cut are joined, others are not', (t) => {
  const found = mapped(
    '10000-12000 rw-s 00000000 00:1b 7 /dev/shm/a',
    '12000-13000 rwxs 00002000 00:1b 7 /dev/shm/a',
    '13000-14000 rw-s 00004000 00:1b 7 /dev/shm/a',
    '20000-21000 rw-s 00001000 00:1b 9 /dev/shm/b',
  );
  t.same(found, [
    { start: 0x10000, end: 0x13000, region: 0, firstPage: 0 },
    { start: 0x13000, end: 0x14000, region: 0, firstPage: 4 },
    { start: 0x20000, end: 0x21000, region: 2, firstPage: 1 },
  ]);
  t.end();
});

void test('what cannot change the file is left out', (t) => {
  const found = mapped(
    '10000-12000 r--s 00000000 00:1b 7 /dev/shm/a',
    '12000-14000 rw-p 00000000 00:1b 7 /dev/shm/a',
    '14000-16000 rw-s 00000000 00:1c 7 /other/a',
    '16000-18000 rw-s 00000000 00:1b 8 /dev/shm/c',
    '18000-1a000 rw-s 00010000 00:1b 7 /dev/shm/a past the end',
  );
  t.same(found, []);
  t.end();
});

const MAPPINGS = [
  { start: 0x400000, end: 0x800000, region: 3, firstPage: 100 },
  { start: 0x900000, end: 0xa00000, region: 1, firstPage: 0 },
  { start: 0xb00000, end: 0xf00000, region: 3, firstPage: 100 },
];

/** What runsIn makes of ranges of addresses, each told where its mapping is read. */
const runsOf = (...ranges: [start: number, end: number][]) =>
  runsIn(MAPPINGS, (mapping, take) => {
    for (const [start, end] of ranges) if (start >= mapping.start && end <= mapping.end) take(start, end);
  });

void test('addresses are turned into pages of the region, of whatever size the pages of the kernel are', (t) => {
  t.same(runsOf([0x400000, 0x401000], [0x600000, 0x800000]), [
    { region: 3, firstPage: 100, pageCount: 1 },
    { region: 3, firstPage: 612, pageCount: 512 },
  ]);
  t.end();
});

void test('runs of all mappings are in order, those of memory that is mapped twice once', (t) => {
  t.same(runsOf([0x401000, 0x403000], [0x900000, 0x901000], [0xb02000, 0xb04000]), [
    { region: 1, firstPage: 0, pageCount: 1 },
    { region: 3, firstPage: 101, pageCount: 3 },
  ]);
  t.end();
});

void test('what is told once more behind the end is there, and what was told before', (t) => {
  t.same(runsOf([0x400000, 0x402000], [0x410000, 0x420000], [0x401000, 0x403000], [0x412000, 0x413000]), [
    { region: 3, firstPage: 100, pageCount: 3 },
    { region: 3, firstPage: 116, pageCount: 16 },
  ]);
  t.end();
});

void test('of more runs than a list holds, those that are near each other become one', (t) => {
  const pages = 2 * MAX_RUNS + 2;
  const mapping = { start: 0, end: 2 * pages * PAGE_SIZE, region: 0, firstPage: 0 };
  const runs = runsIn([mapping], (_, take) => {
    for (let page = 0; page < 2 * pages; page += 2) take(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  });
  t.ok(runs.length <= MAX_RUNS, `${runs.length} runs`);
  t.same(runs[0]?.firstPage, 0);
  t.ok(countPages(runs) >= pages, 'all that was told is there');
  const last = runs.at(-1)!;
  t.equal(last.firstPage + last.pageCount, 2 * pages - 1);
  t.end();
});
