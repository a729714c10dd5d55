import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import type { VerifyMode } from '../../shared/protocol/messages.js';
import type { Region } from '../guest/guest.js';
import { copyBytes } from '../link/copy-bytes.js';
import { hashPages, ZERO_PAGE_HASH } from '../guest/page-hash.js';

/**
 * The memory of an incoming guest: checks every run before it is written, counts what was applied, and keeps for
 * `--verify after` a hash of each page as it was applied, since the guest will change its memory once it runs.
 */
export class ReceivedMemory {
  /** Pages applied in all rounds, zero pages included. */
  pagesApplied = 0;
  readonly #sizes: readonly { readonly name: string; readonly pages: number }[];
  /** Empty once they were let go. */
  #regions: readonly Region[];
  readonly #applied: readonly BigUint64Array[] | null;

  constructor(regions: readonly Region[], verify: VerifyMode) {
    this.#sizes = regions.map(({ name, memory }) => ({ name, pages: memory.length / PAGE_SIZE }));
    this.#regions = regions;
    this.#applied =
      verify === 'after'
        ? regions.map(({ memory }) => new BigUint64Array(memory.length / PAGE_SIZE).fill(ZERO_PAGE_HASH))
        : null;
  }

  /** Throws out-of-range unless all of `run` is memory of the guest. */
  check(run: Run): void {
    const region = this.#sizes[run.region];
    if (!region) {
      const count = this.#sizes.length;
      throw new MigrationError('out-of-range', `region ${run.region} does not exist: the guest has ${count}`);
    }
    const { pages } = region;
    const end = run.firstPage + run.pageCount;
    const whole = Number.isSafeInteger(run.firstPage) && Number.isSafeInteger(run.pageCount);
    if (!whole || run.firstPage < 0 || run.pageCount < 1 || end > pages) {
      throw new MigrationError(
        'out-of-range',
        `pages ${run.firstPage} to ${end} are outside of region ${region.name}, which has ${pages}`,
      );
    }
  }

  /** Writes bytes of a run that was checked, at `offset` bytes of the region. */
  write(region: number, offset: number, bytes: Uint8Array): void {
    const { memory, write } = this.#regions[region]!;
    if (write) write(offset, bytes);
    else copyBytes(memory, offset, bytes);
  }

  /** Makes the run zero; where the region has holes, it becomes one. */
  writeZeros({ region: index, firstPage, pageCount }: Run): void {
    const region = this.#regions[index]!;
    if (region.clear) region.clear(firstPage, pageCount);
    else region.memory.fill(0, firstPage * PAGE_SIZE, (firstPage + pageCount) * PAGE_SIZE);
  }

  /** Notes that all of `run` has been written. */
  applied(run: Run): void {
    this.pagesApplied += run.pageCount;
    const hashes = this.#applied?.[run.region];
    if (!hashes) return;
    hashes.set(hashPages(this.#regions[run.region]!, run.firstPage, run.pageCount), run.firstPage);
  }

  /** Lets the guest's memory go: from here on only the hashes of pages as applied are there, if they were kept. */
  release(): void {
    this.#regions = [];
  }

  /** Hashes of the run as 8 bytes a page, little-endian: as applied, or of the memory as it is now. */
  hashes(run: Run): Uint8Array<ArrayBuffer> {
    this.check(run);
    const { region, firstPage, pageCount } = run;
    const hashes =
      this.#applied?.[region]?.subarray(firstPage, firstPage + pageCount) ??
      hashPages(this.#regions[region]!, firstPage, pageCount);
    const bytes = new Uint8Array(pageCount * 8);
    const view = new DataView(bytes.buffer);
    for (const [i, hash] of hashes.entries()) view.setBigUint64(i * 8, hash, true);
    return bytes;
  }
}
