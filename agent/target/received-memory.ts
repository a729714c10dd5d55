import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import type { VerifyMode } from '../../shared/protocol/messages.js';
import type { Region, RegionHandle } from '../guest/guest.js';
import { copyBytes } from '../link/copy-bytes.js';
import { hashPages, ZERO_PAGE_HASH } from '../guest/page-hash.js';

/**
 * The memory of an incoming guest: checks every run before it is written, counts what was applied, and keeps for
 * `--verify after` a hash of each page as it was applied, since the guest will change its memory once it runs.
 */
export class ReceivedMemory {
  #pagesAppliedHere = 0;
  /** By stream: what other threads have applied. */
  readonly #pagesAppliedElsewhere = new Map<number, number>();
  readonly #sizes: readonly { readonly name: string; readonly pages: number }[];
  /** Empty once they were let go. */
  #regions: readonly Region[];
  readonly #applied: readonly BigUint64Array<SharedArrayBuffer>[] | null;

  /**
   * `applied`: where hashes are kept, if another thread has made the place: one buffer for each region, 8 bytes a page.
   */
  constructor(regions: readonly Region[], verify: VerifyMode, applied?: readonly SharedArrayBuffer[]) {
    this.#sizes = regions.map(({ name, memory }) => ({ name, pages: memory.length / PAGE_SIZE }));
    this.#regions = regions;
    this.#applied =
      verify === 'after'
        ? regions.map(({ memory }, region) => appliedHashes(memory.length / PAGE_SIZE, applied?.[region]))
        : null;
  }

  /** For a ReceivedMemory of the same guest in another thread. Null where no hashes are kept. */
  get appliedBuffers(): readonly SharedArrayBuffer[] | null {
    return this.#applied?.map(({ buffer }) => buffer) ?? null;
  }

  /** How other threads get at the memory; null where not all of it can be shared. */
  get handles(): readonly RegionHandle[] | null {
    const handles = this.#regions.flatMap(({ handle }) => handle ?? []);
    return handles.length === this.#regions.length ? handles : null;
  }

  /** Whether bytes are best put into memory by write(): they have no place of their own. */
  get writesThrough(): boolean {
    return this.#regions.some(({ write }) => write !== undefined);
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

  /** Where bytes of a run that was checked belong; null where write() is the better way. */
  place(region: number, offset: number, bytes: number): Uint8Array | null {
    const { memory, write } = this.#regions[region]!;
    return write ? null : memory.subarray(offset, offset + bytes);
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

  /** Pages applied in all rounds and by all streams, zero pages included. */
  get pagesApplied(): number {
    return [...this.#pagesAppliedElsewhere.values()].reduce(
      (sum, pages) => sum + pages,
      this.#pagesAppliedHere,
    );
  }

  /** Another thread has applied so many pages of that stream, in all rounds. */
  appliedElsewhere(stream: number, pages: number): void {
    this.#pagesAppliedElsewhere.set(stream, pages);
  }

  /** Notes that all of `run` has been written. */
  applied(run: Run): void {
    this.#pagesAppliedHere += run.pageCount;
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

/** One hash a page; a page that nothing was applied to is zero. */
function appliedHashes(pages: number, made?: SharedArrayBuffer): BigUint64Array<SharedArrayBuffer> {
  if (made) return new BigUint64Array(made);
  return new BigUint64Array(new SharedArrayBuffer(pages * 8)).fill(ZERO_PAGE_HASH);
}
