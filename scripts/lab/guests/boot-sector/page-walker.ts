import { rm, truncate } from 'node:fs/promises';
import { buildTool } from '../build-tool.js';
import { guestSource } from '../checkout.js';

/** The smallest disk that the BIOS boots from. bytes */
const DISK_BYTES = 2 ** 20;

export interface PageWalk {
  /** RAM of the guest; what is above 3 GiB less 1 MiB of it is left alone. */
  readonly memoryBytes: number;
  /** Turns of an empty loop after each page: 200 of them take half a microsecond under TCG. */
  readonly delay?: number;
}

/** Where the machine has devices instead of RAM. */
const MAX_TOP = 0xbff00000;

/** Builds the boot sector of page-walker.s as a disk image. */
export async function buildPageWalker(image: string, { memoryBytes, delay = 200 }: PageWalk): Promise<void> {
  const object = `${image}.o`;
  const symbols = [`top=${Math.min(memoryBytes, MAX_TOP)}`, `delay=${delay}`];
  const defined = symbols.flatMap((symbol) => ['--defsym', symbol]);
  try {
    await buildTool('as', '--32', ...defined, guestSource('boot-sector/page-walker.s'), '-o', object);
    await buildTool(
      'ld',
      ...['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary'],
      ...[object, '-o', image],
    );
  } finally {
    await rm(object, { force: true });
  }
  await truncate(image, DISK_BYTES);
}
