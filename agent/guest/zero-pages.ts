import { PAGE_SIZE } from '../../shared/page.js';

/**
 * Which pages of a guest are all zero: they are neither read twice nor sent. The content may change while it is
 * looked at; a page that turns non-zero is in the write-log by then.
 */

const ZERO_PAGE = Buffer.alloc(PAGE_SIZE);

/** Buffer's compare with ranges: a native memcmp with no object made per page, which subarray() would make. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- always called with the memory as its this
const compare = (Buffer.prototype as Buffer).compare as (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  targetEnd: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

/** Whether page number `page` of `memory` (whole pages) is all zero. Throws RangeError outside of it. */
export function isZeroPage(memory: Uint8Array, page: number): boolean {
  const start = page * PAGE_SIZE;
  const end = start + PAGE_SIZE;
  if (!(start >= 0 && end <= memory.length)) {
    throw new RangeError(`page ${page} is outside of the ${memory.length / PAGE_SIZE} pages of the memory`);
  }
  // Most pages in use start with something: looking at one byte spares them the call.
  if (memory[start] !== 0) return false;
  return compare.call(memory, ZERO_PAGE, 0, PAGE_SIZE, start, end) === 0;
}

/**
 * The first page after `page`, below `endPage`, that differs from it in being all zero or not; `endPage` if none
 * does. Splits a run into alternating pieces: `page` to the result are of one kind.
 */
export function zeroRunEnd(memory: Uint8Array, page: number, endPage: number): number {
  const zero = isZeroPage(memory, page);
  let end = page + 1;
  while (end < endPage && isZeroPage(memory, end) === zero) end += 1;
  return end;
}
