import { open } from 'node:fs/promises';
import { PAGE_SIZE } from '../../../../shared/page.js';

/** As in page-walker.s. */
const FIRST_PAGE = 2 ** 20 / PAGE_SIZE;
const MARKER_OFFSET = 0x123;

/** Read at once. bytes */
const CHUNK = 2 ** 22;

/** The marked byte of each page, from the first that the page walker writes to the end of the RAM in these files. */
export async function pageMarkers(ramFiles: readonly string[]): Promise<Uint8Array> {
  const markers: number[] = [];
  const chunk = Buffer.alloc(CHUNK);
  for (const name of ramFiles) {
    const file = await open(name);
    try {
      for (;;) {
        const { bytesRead } = await file.read(chunk, 0, CHUNK, null);
        if (bytesRead === 0) break;
        for (let at = MARKER_OFFSET; at < bytesRead; at += PAGE_SIZE) markers.push(chunk[at]!);
      }
    } finally {
      await file.close();
    }
  }
  return Uint8Array.from(markers.slice(FIRST_PAGE));
}

/**
 * What is wrong with the markers of a page walker that stands still: from the first page to the last they are
 * n+1, ... n+1, n, ... n. Each page that is not what it should be, up to ten, in words; empty where all are.
 */
export function pageWalkDefects(markers: Uint8Array): string[] {
  const first = markers[0] ?? 0;
  const behind = (first + 255) & 255;
  const defects: string[] = [];
  let stepped = false;
  markers.forEach((marker, index) => {
    if (marker === behind) stepped = true;
    const expected = stepped ? behind : first;
    if (marker === expected || defects.length === 10) return;
    defects.push(
      `page ${FIRST_PAGE + index} holds ${marker}, not ${expected} (the first page holds ${first})`,
    );
  });
  return defects;
}
