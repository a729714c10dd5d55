import { dirname, join } from 'node:path';
import { readQcow2Header } from './qcow2-header.js';

/** Images on which one may be built. */
const MAX_CHAIN = 32;

/** What QEMU would open beside an image, and why that is not allowed. */
export interface ChainRefusal {
  readonly file: string;
  readonly reason: string;
}

/**
 * Why what a qcow2 image makes QEMU open is not allowed; null if all of it is. A backing file is given in the image itself, which
 * a guest that had it as a raw disk may have written.
 */
export async function chainRefusal(
  image: string,
  refusal: (path: string) => Promise<string | null>,
): Promise<ChainRefusal | null> {
  let path = image;
  for (let depth = 0; depth < MAX_CHAIN; depth += 1) {
    const header = await readQcow2Header(path);
    if (!header) return { file: path, reason: 'is no qcow2 image' };
    if (header.externalData) return { file: path, reason: 'has its data in another file' };
    const { backingFile, backingFormat } = header;
    if (backingFile === null) return null;
    // QEMU takes what begins like 'nbd:' or 'json:' for something else than a path.
    if (/^[^/]*:/.test(backingFile)) {
      return { file: path, reason: `has a backing file that is no path (${backingFile.slice(0, 100)})` };
    }
    const below = backingFile.startsWith('/') ? backingFile : join(dirname(path), backingFile);
    const reason = await refusal(below);
    if (reason !== null) return { file: `${below}, the backing file of ${path}`, reason };
    // One whose format is guessed may be of any kind that names further files.
    if (backingFormat !== 'raw' && backingFormat !== 'qcow2') {
      const format = backingFormat === null ? 'no format' : `the format ${backingFormat.slice(0, 30)}`;
      return { file: path, reason: `has a backing file of ${format}, where raw or qcow2 must be said` };
    }
    if (backingFormat === 'raw') return null;
    path = below;
  }
  return { file: image, reason: `is built on more than ${MAX_CHAIN} others` };
}
