import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import type { VerifyMode } from '../../shared/protocol/messages.js';
import type { Region } from '../guest/guest.js';
import { copyBytes } from '../link/copy-bytes.js';
import { hashPage, ZERO_PAGE_HASH } from '../guest/page-hash.js';

/**
 * The memory of an incoming guest: checks every run before it is written, counts what was applied, and keeps for
 * `--verify after` a hash of each page as it was applied, since the guest will change its memory once it runs.
 */
export class ReceivedMemory {
  /** Pages applied in all rounds, zero pages included. */
  pagesApplied = 0;
  readonly #regions: readonly { readonly name: string; readonly pages: number }[];
  /** Of each region; empty once it was let go. */
  #memory: readonly Uint8Array[];
  readonly #applied: readonly BigUint64Array[] | null;

  constructor(regions: readonly Region[], verify: VerifyMode) {
    this.#regions = regions.map(({ name, memory }) => ({ name, pages: memory.length / PAGE_SIZE }));
    this.#memory = regions.map(({ memory }) => memory);
    this.#applied =
      verify === 'after'
        ? regions.map(({ memory }) => new BigUint64Array(memory.length / PAGE_SIZE).fill(ZERO_PAGE_HASH))
        : null;
  }

  /** Throws out-of-range unless all of `run` is memory of the guest. */
  check(run: Run): void {
    const region = this.#regions[run.region];
    if (!region) {
      const count = this.#regions.length;
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
    copyBytes(this.#memory[region]!, offset, bytes);
  }

  /** Makes the run zero. */
  writeZeros(run: Run): void {
    const start = run.firstPage * PAGE_SIZE;
    this.#memory[run.region]!.fill(0, start, start + run.pageCount * PAGE_SIZE);
  }

  /** Notes that all of `run` has been written. */
  applied(run: Run): void {
    this.pagesApplied += run.pageCount;
    const hashes = this.#applied?.[run.region];
    if (!hashes) return;
    const memory = this.#memory[run.region]!;
    for (let page = run.firstPage; page < run.firstPage + run.pageCount; page += 1) {
      hashes[page] = hashPage(memory, page);
    }
  }

  /** Lets the guest's memory go: from here on only the hashes of pages as applied are there, if they were kept. */
  release(): void {
    this.#memory = [];
  }

  /** Hashes of the run as 8 bytes a page, little-endian: as applied, or of the memory as it is now. */
  hashes(run: Run): Uint8Array<ArrayBuffer> {
    this.check(run);
    const memory = this.#memory[run.region];
    const applied = this.#applied?.[run.region];
    const bytes = new Uint8Array(run.pageCount * 8);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < run.pageCount; i += 1) {
      const page = run.firstPage + i;
      view.setBigUint64(i * 8, applied ? applied[page]! : hashPage(memory!, page), true);
    }
    return bytes;
  }
}
