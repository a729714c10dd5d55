import type { Run } from '../../../shared/page.js';

/** Bytes of a write map for `pages` pages: a byte each, in whole 64-bit words. */
export function writeMapBytes(pages: number): number {
  return Math.ceil(pages / 8) * 8;
}

/**
 * The pages marked in `map` (a byte per page, not 0: written) as ascending, disjoint runs of region 0; clears the
 * map. Nobody else writes to it meanwhile.
 */
export function takeWritten(map: Uint8Array): Run[] {
  const words = new Uint32Array(map.buffer, map.byteOffset, map.byteLength / 4);
  const runs: Run[] = [];
  let firstPage = -1;
  const endRun = (page: number): void => {
    if (firstPage >= 0) runs.push({ region: 0, firstPage, pageCount: page - firstPage });
    firstPage = -1;
  };
  for (let word = 0; word < words.length; word += 1) {
    // Most of the map is unmarked: four pages are looked at together.
    if (words[word] === 0) {
      endRun(word * 4);
      continue;
    }
    for (let page = word * 4; page < word * 4 + 4; page += 1) {
      if (map[page] === 0) endRun(page);
      else if (firstPage < 0) firstPage = page;
    }
  }
  endRun(map.length);
  map.fill(0);
  return runs;
}
