import { setImmediate } from 'node:timers/promises';
import { MigrationError } from '../../../../shared/errors.js';
import { PAGE_SIZE, type Run, RunList } from '../../../../shared/page.js';
import type { WriteLog } from '../../guest.js';
import { hashPage, ZERO_PAGE_HASH } from '../../page-hash.js';
import type { TrackedRegion } from './tracked-region.js';

/** Pages hashed before other work of the agent gets its turn: 32 MiB, or some 10 ms. */
const SLICE_PAGES = 8192;

/**
 * Finds written pages by comparing all memory with what was sent: 64-bit hashes of the very bytes that `capture` handed
 * out. A page counts as sent once it is captured, as a hole or not, and as zero before, since that is what a target starts with. Hashes of
 * what memory held at another time would not do: a page can change back between the two.
 *
 * It needs no privilege and no kernel, and sees every write, whoever made it. It is slow: each harvest reads all that is
 * populated, the last one while the guest is paused. Two contents of a page with one hash (of 2^64) are taken for equal.
 */
export class HashLog implements WriteLog {
  readonly kind = 'hash';
  readonly reason: string;
  readonly #regions: readonly TrackedRegion[];
  /** Per region, the hash of each page as it was sent. */
  #sent: BigUint64Array[] | null = null;

  constructor(regions: readonly TrackedRegion[], reason: string) {
    this.#regions = regions;
    this.reason = reason;
  }

  start(): Promise<void> {
    this.#sent = this.#regions.map(({ memory }) =>
      new BigUint64Array(memory.length / PAGE_SIZE).fill(ZERO_PAGE_HASH),
    );
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#sent = null;
    return Promise.resolve();
  }

  /** Throws tracking-failed if it is not started, or stopped meanwhile. */
  async harvest(): Promise<Run[]> {
    const differing = new RunList();
    for (const [index, region] of this.#regions.entries()) {
      const pages = region.memory.length / PAGE_SIZE;
      for (let firstPage = 0; firstPage < pages; firstPage += SLICE_PAGES) {
        this.#compare(index, firstPage, Math.min(SLICE_PAGES, pages - firstPage), differing);
        await setImmediate();
      }
    }
    return differing.runs;
  }

  capture({ region: index, firstPage, pageCount }: Run): Uint8Array {
    const { region, sent } = this.#region(index);
    const copy = new Uint8Array(pageCount * PAGE_SIZE);
    sent.fill(ZERO_PAGE_HASH, firstPage, firstPage + pageCount);
    // Holes are left alone: to read them would fill them with memory.
    for (const populated of region.populated(firstPage, pageCount)) {
      const start = populated.firstPage * PAGE_SIZE;
      const end = start + populated.pageCount * PAGE_SIZE;
      copy.set(region.memory.subarray(start, end), start - firstPage * PAGE_SIZE);
      for (let i = 0; i < populated.pageCount; i += 1) {
        const page = populated.firstPage + i;
        sent[page] = hashPage(copy, page - firstPage);
      }
    }
    return copy;
  }

  /** Appends the pages that differ from what was sent. */
  #compare(index: number, firstPage: number, pageCount: number, differing: RunList): void {
    const { region, sent } = this.#region(index);
    const compare = (from: number, to: number, hashOf: (page: number) => bigint): void => {
      for (let page = from; page < to; page += 1) {
        if (sent[page] !== hashOf(page)) differing.add(index, page, 1);
      }
    };
    let page = firstPage;
    for (const populated of region.populated(firstPage, pageCount)) {
      compare(page, populated.firstPage, () => ZERO_PAGE_HASH);
      page = populated.firstPage + populated.pageCount;
      compare(populated.firstPage, page, (at) => hashPage(region.memory, at));
    }
    compare(page, firstPage + pageCount, () => ZERO_PAGE_HASH);
  }

  #region(index: number): { region: TrackedRegion; sent: BigUint64Array } {
    const region = this.#regions[index];
    const sent = this.#sent?.[index];
    if (!region || !sent) throw new MigrationError('tracking-failed', 'the write-log is not started');
    return { region, sent };
  }
}
