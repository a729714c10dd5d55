import xxhash from 'xxhash-wasm';
import { PAGE_SIZE } from '../../shared/page.js';
import { populatedRanges, type Region } from './guest.js';

const hasher = await xxhash();

/** xxHash64 with seed 0 of `bytes`, which may be shared memory. */
export function hashBytes(bytes: Uint8Array): bigint {
  return hasher.h64Raw(bytes);
}

/** hashBytes as 16 hexadecimal digits. */
export function hashHex(bytes: Uint8Array): string {
  return hex(hashBytes(bytes));
}

function hex(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

/** hashHex of bytes that come in pieces. */
export class RunningHash {
  readonly #hash = hasher.create64();

  update(piece: Uint8Array): void {
    this.#hash.update(piece);
  }

  /** Of all bytes so far. */
  digest(): string {
    return hex(this.#hash.digest());
  }
}

/** xxHash64 of page `page` of a region. */
export function hashPage(memory: Uint8Array, page: number): bigint {
  return hasher.h64Raw(memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
}

/** What an untouched page hashes to. */
export const ZERO_PAGE_HASH = hashBytes(new Uint8Array(PAGE_SIZE));

/** xxHash64 of each page of a range; its holes are not touched. */
export function hashPages(region: Region, firstPage: number, pageCount: number): BigUint64Array {
  const hashes = new BigUint64Array(pageCount).fill(ZERO_PAGE_HASH);
  for (const data of populatedRanges(region, firstPage, pageCount)) {
    for (let page = data.firstPage; page < data.firstPage + data.pageCount; page += 1) {
      hashes[page - firstPage] = hashPage(region.memory, page);
    }
  }
  return hashes;
}
