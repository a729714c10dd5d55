import type { Test } from 'tap';
import type { Region } from '../../agent/guest/guest.js';
import { MappedFile } from '../../agent/system/mapped-memory.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { ramFile } from '../system/ram-file.js';

/** Memory of one of the kinds that guests have; of a file its path, too. */
export function regionOf(kind: 'buffer' | 'file', pages: number, t: Test): Region & { path?: string } {
  const name = 'ram';
  const bytes = pages * PAGE_SIZE;
  if (kind === 'buffer') {
    const buffer = new SharedArrayBuffer(bytes);
    return { name, memory: new Uint8Array(buffer), handle: { name, buffer } };
  }
  const path = ramFile(t, bytes);
  const file = MappedFile.open(path, bytes);
  t.teardown(() => file.release());
  return { name, path, ...file.windows[0]!, handle: { name, path, fileBytes: bytes, window: 0 } };
}
