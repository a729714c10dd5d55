import { setImmediate } from 'node:timers/promises';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import type { Region } from '../guest/guest.js';
import { isZeroPage, zeroRunEnd } from '../guest/zero-pages.js';
import type { PageSender } from '../link/link.js';

/** Pages handed to the link at once: keeps each step short, so that a cancel and progress come through. */
const STEP_PAGES = 256;

/** Scanning zero pages awaits no socket: after this many pages the event loop gets its turn. */
const YIELD_PAGES = 16_384;

export interface CopyFigures {
  pages: number;
  zeroPages: number;
  /** Content sent, without zero pages. */
  bytes: number;
}

/**
 * Sends the content of `runs`: pages that are all zero as such, the others as views of the guest's memory.
 * Throws the signal's reason when aborted, and what the sender throws.
 */
export async function copyRuns(
  runs: readonly Run[],
  regions: readonly Region[],
  sender: PageSender,
  signal: AbortSignal,
  onStep: (pagesDone: number) => void,
): Promise<CopyFigures> {
  const figures: CopyFigures = { pages: 0, zeroPages: 0, bytes: 0 };
  let sinceYield = 0;
  for (const run of runs) {
    const memory = regions[run.region]!.memory;
    const end = run.firstPage + run.pageCount;
    let page = run.firstPage;
    while (page < end) {
      signal.throwIfAborted();
      const zero = isZeroPage(memory, page);
      const limit = Math.min(end, page + STEP_PAGES);
      const next = zeroRunEnd(memory, page, limit);
      const step: Run = { region: run.region, firstPage: page, pageCount: next - page };
      if (zero) {
        await sender.sendZeroPages(step);
        figures.zeroPages += step.pageCount;
      } else {
        await sender.sendPages(step, memory.subarray(page * PAGE_SIZE, next * PAGE_SIZE));
        figures.bytes += step.pageCount * PAGE_SIZE;
      }
      figures.pages += step.pageCount;
      onStep(figures.pages);
      page = next;
      sinceYield += step.pageCount;
      if (sinceYield >= YIELD_PAGES) {
        sinceYield = 0;
        await setImmediate();
      }
    }
  }
  return figures;
}
