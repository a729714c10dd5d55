import fc from 'fast-check';
import { test } from 'tap';
import { checkElf, loadElf } from '../../../agent/guest/embedded/elf.js';
import { RAM_BASE } from '../../../agent/guest/embedded/memory-map.js';
import { MigrationError } from '../../../shared/errors.js';
import { elfFile } from '../../support/riscv-elf.js';

const MEMORY_BYTES = 2 ** 20;

const GOOD = elfFile(RAM_BASE + 8, [
  { address: RAM_BASE, data: Uint8Array.from({ length: 40 }, (_, index) => index + 1), memoryBytes: 100 },
  { address: RAM_BASE + 0x2000, data: Uint8Array.of(9, 8, 7, 6) },
]);

/** GOOD with a field changed. */
function changed(offset: number, value: number, bytes: 1 | 2 | 4): Uint8Array {
  const file = GOOD.slice();
  const view = new DataView(file.buffer);
  if (bytes === 1) view.setUint8(offset, value);
  else if (bytes === 2) view.setUint16(offset, value, true);
  else view.setUint32(offset, value, true);
  return file;
}

void test('segments go where they belong, and the entry point is told', (t) => {
  const ram = new Uint8Array(new SharedArrayBuffer(MEMORY_BYTES));
  t.equal(loadElf(GOOD, ram), RAM_BASE + 8);
  t.same([...ram.subarray(0, 3), ram[39], ram[40]], [1, 2, 3, 40, 0]);
  t.same([...ram.subarray(0x2000, 0x2005)], [9, 8, 7, 6, 0]);
  t.end();
});

void test('what cannot be booted is refused by name', (t) => {
  const first = 52;
  const second = 84;
  const bad: [RegExp, Uint8Array][] = [
    [/fewer than an ELF header/, GOOD.subarray(0, 51)],
    [/fewer than an ELF header/, new Uint8Array(0)],
    [/magic number/, changed(1, 0x46, 1)],
    [/no 32-bit ELF/, changed(4, 2, 1)],
    [/not little-endian/, changed(5, 2, 1)],
    [/ELF version is 7/, changed(6, 7, 1)],
    [/type is 3, not an executable/, changed(16, 3, 2)],
    [/machine 62, not RISC-V/, changed(18, 62, 2)],
    [/compressed instructions/, changed(36, 1, 4)],
    [/floating-point/, changed(36, 4, 4)],
    [/no program headers/, changed(44, 0, 2)],
    [/257 program headers/, changed(44, 257, 2)],
    [/program headers have 56 bytes/, changed(42, 56, 2)],
    [/reach past its end/, changed(28, 0xfffffff0, 4)],
    [/entry point 0x8000000a is not a multiple/, changed(24, RAM_BASE + 10, 4)],
    [/entry point 0x80001000 is in none/, changed(24, RAM_BASE + 0x1000, 4)],
    [/dynamically linked/, changed(first, 3, 4)],
    [/more bytes in the file/, changed(first + 20, 39, 4)],
    [/segment 0 reaches past the end/, changed(first + 4, 0xffffff00, 4)],
    [/segment 0 is at 0x7ffffffc/, changed(first + 12, RAM_BASE - 4, 4)],
    [/segment 1 is at 0x800ffffd/, changed(second + 12, RAM_BASE + MEMORY_BYTES - 3, 4)],
    [/segment 1 is at 0x80002000 to 0x1800/, changed(second + 20, 0xffffffff, 4)],
    [/overlap at 0x80000004/, changed(second + 12, RAM_BASE + 4, 4)],
    [/no segment to load/, elfFile(RAM_BASE, [{ address: RAM_BASE, data: new Uint8Array(0) }])],
  ];
  for (const [message, file] of bad) {
    const ram = new Uint8Array(MEMORY_BYTES);
    t.throws(() => loadElf(file, ram), { code: 'invalid-image', message });
    t.ok(
      ram.every((byte) => byte === 0),
      'nothing was written',
    );
  }
  t.end();
});

void test('no file crashes it or makes it write outside of the memory', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ at: fc.nat(GOOD.length - 1), byte: fc.nat(255) }), { minLength: 1, maxLength: 8 }),
      fc.nat(GOOD.length),
      (changes, length) => {
        const file = GOOD.slice();
        for (const { at, byte } of changes) file[at] = byte;
        try {
          checkElf(length % 3 === 0 ? file.subarray(0, length) : file, MEMORY_BYTES);
          return true;
        } catch (error) {
          return error instanceof MigrationError && error.code === 'invalid-image';
        }
      },
    ),
    { numRuns: 5000 },
  );
  t.end();
});
