import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmdirSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'tap';
import { MappedFile } from '../../agent/system/mapped-memory.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { ramFile } from './ram-file.js';

const PAGES = 64;

void test('two mappings of a file are one memory', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  const [one, two] = [MappedFile.open(path, PAGES * PAGE_SIZE), MappedFile.open(path, PAGES * PAGE_SIZE)];
  one.windows[0]!.memory[5 * PAGE_SIZE] = 7;
  t.equal(two.windows[0]!.memory[5 * PAGE_SIZE], 7);
  const { buffer } = two.windows[0]!.memory;
  t.equal(Buffer.from(buffer, 5 * PAGE_SIZE, PAGE_SIZE)[0], 7, 'buffers of parts of it need no copy');
  one.release();
  two.release();
  t.end();
});

void test('populated and clear agree with a model', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  const file = MappedFile.open(path, PAGES * PAGE_SIZE);
  const window = file.windows[0]!;
  const range = fc.tuple(fc.nat(PAGES - 1), fc.integer({ min: 1, max: 20 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), range), { maxLength: 12 }), range, (steps, asked) => {
      window.clear(0, PAGES);
      const model = new Set<number>();
      for (const [write, [first, length]] of steps) {
        const end = Math.min(first + length, PAGES);
        if (!write) window.clear(first, end - first);
        for (let page = first; page < end; page += 1) {
          if (write) window.memory[page * PAGE_SIZE + 9] = 1;
          if (write) model.add(page);
          else model.delete(page);
        }
      }
      const [first, count] = [asked[0], Math.min(asked[1], PAGES - asked[0])];
      const found = window.populated(first, count);
      const pages = found.flatMap((at) => Array.from({ length: at.pageCount }, (_, i) => at.firstPage + i));
      const expected = [...model].filter((page) => page >= first && page < first + count);
      t.same(
        pages,
        expected.sort((a, b) => a - b),
      );
      t.ok(
        found.every((at, i) => i === 0 || at.firstPage > found[i - 1]!.firstPage + found[i - 1]!.pageCount),
      );
      t.equal(file.allocatedPages(), model.size);
    }),
    { numRuns: 60 },
  );
  file.release();
  t.end();
});

void test('what is cleared reads as zero', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  const file = MappedFile.open(path, PAGES * PAGE_SIZE);
  const window = file.windows[0]!;
  const { memory } = window;
  memory.fill(9, 0, 4 * PAGE_SIZE);
  window.clear(1, 2);
  t.same(
    [0, 1, 2, 3].map((page) => memory[page * PAGE_SIZE + 100]),
    [9, 0, 0, 9],
  );
  file.release();
  t.end();
});

void test('after the release views read zeros, and the file is left as it was', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  const file = MappedFile.open(path, PAGES * PAGE_SIZE);
  const window = file.windows[0]!;
  const { memory } = window;
  memory.fill(3);
  file.release();
  file.release();
  truncateSync(path, 0);
  t.ok(memory.every((byte) => byte === 0));
  memory.fill(4);
  window.clear(0, 1);
  t.same(window.populated(0, PAGES), []);
  t.equal(file.allocatedPages(), 0);
  t.end();
});

void test('files larger than a window are cut', (t) => {
  const bytes = 2 ** 31 + 8 * PAGE_SIZE;
  const path = ramFile(t, bytes);
  const file = MappedFile.open(path, bytes);
  t.same(
    file.windows.map(({ memory }) => memory.length),
    [2 ** 31, 8 * PAGE_SIZE],
  );
  const last = file.windows[1]!;
  last.memory[3 * PAGE_SIZE] = 5;
  file.windows[0]!.memory[2 ** 31 - 1] = 6;
  t.same(last.populated(0, 8), [{ firstPage: 3, pageCount: 1 }]);
  t.same(file.windows[0]!.populated(0, 2 ** 19), [{ firstPage: 2 ** 19 - 1, pageCount: 1 }]);
  const fd = openSync(path, 'r');
  const read = Buffer.alloc(1);
  readSync(fd, read, 0, 1, 2 ** 31 + 3 * PAGE_SIZE);
  closeSync(fd);
  t.equal(read[0], 5);
  last.clear(0, 8);
  t.same(last.populated(0, 8), []);
  file.release();
  t.end();
});

void test('a file of another size is refused', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  t.throws(() => MappedFile.open(path, 2 * PAGES * PAGE_SIZE), { code: 'guest-failed', message: path });
  t.throws(() => MappedFile.open('/dev/shm/vmferry-no-such-file', PAGE_SIZE), { code: 'ENOENT' });
  t.end();
});

void test('bytes that are written are in the memory, at any offset', (t) => {
  const path = ramFile(t, PAGES * PAGE_SIZE);
  const file = MappedFile.open(path, PAGES * PAGE_SIZE);
  const window = file.windows[0]!;
  const { memory, write } = window;
  const at = 3 * PAGE_SIZE - 2;
  write!(at, Buffer.from('abcd'));
  t.equal(Buffer.from(memory.subarray(at, at + 4)).toString(), 'abcd');
  t.same(
    window.populated(0, PAGES),
    [{ firstPage: 2, pageCount: 2 }],
    'holes stay where nothing was written',
  );
  for (const offset of [-1, PAGES * PAGE_SIZE - 3, NaN]) {
    t.throws(() => write!(offset, Buffer.from('abcd')), RangeError);
  }
  file.release();
  write!(0, Buffer.from('lost'));
  t.equal(memory[0], 0, 'after the release nothing is written to the file');
  t.end();
});

void test('a file system that is full is an error, and not the end of the process', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vmferry-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${4 * PAGE_SIZE}`, 'full', directory]);
  t.teardown(() => {
    execFileSync('umount', [directory]);
    rmdirSync(directory);
  });
  const path = join(directory, 'ram');
  writeFileSync(path, '');
  truncateSync(path, PAGES * PAGE_SIZE);
  const file = MappedFile.open(path, PAGES * PAGE_SIZE);
  const [window] = file.windows;
  t.throws(() => window!.write!(0, Buffer.alloc(PAGES * PAGE_SIZE, 1)), {
    code: 'target-out-of-memory',
    message: /is full: free some of it/,
  });
  file.release();
  t.end();
});
