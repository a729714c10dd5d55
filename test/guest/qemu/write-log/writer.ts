import { closeSync, openSync, readSync } from 'node:fs';
import { MappedFile } from '../../../../agent/system/mapped-memory.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import type { WriterCommand } from './writer-process.js';

/** Has RAM files mapped, as a QEMU has, and does to them what its parent says. Arguments: size in bytes, paths. */

const [bytes, ...paths] = process.argv.slice(2);
const open = (path: string): MappedFile => MappedFile.open(path, Number(bytes));
const files = paths.map(open);
const again: MappedFile[] = [];
let read = 0;

process.on('message', ({ do: action, file, pages }: WriterCommand) => {
  const window = files[file]!.windows[0]!;
  const { memory } = window;
  for (const page of pages) {
    const at = page * PAGE_SIZE;
    if (action === 'write') memory[at + 8] = memory[at + 8]! + 1;
    if (action === 'read') read += memory[at]!;
    if (action === 'kernel-write') fillByKernel(memory.subarray(at, at + PAGE_SIZE));
    if (action === 'clear') window.clear(page, 1);
  }
  if (action === 'map-again') again.push(open(paths[file]!));
  process.send!(read);
});

/** read(2) straight into the memory. */
function fillByKernel(page: Uint8Array): void {
  const random = openSync('/dev/urandom', 'r');
  readSync(random, page);
  closeSync(random);
}

process.send!('mapped');
