import { setImmediate } from 'node:timers/promises';
import { PAGE_SIZE, type Run, unionRuns } from '../../shared/page.js';
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
  /** What was not sent because it was stopped. */
  left: Run[];
}

/**
 * Sends the content of `runs`: pages that are all zero as such, the others as views of the guest's memory.
 * `onStep` hears how far it is, and says false to stop. Throws the signal's reason when aborted, and what the sender
 * throws.
 */
export async function copyRuns(
  runs: readonly Run[],
  regions: readonly Region[],
  sender: PageSender,
  signal: AbortSignal,
  onStep: (pagesDone: number) => boolean,
): Promise<CopyFigures> {
  const figures: CopyFigures = { pages: 0, zeroPages: 0, bytes: 0, left: [] };
  let sinceYield = 0;
  for (const [index, run] of runs.entries()) {
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
      page = next;
      if (!onStep(figures.pages)) {
        const rest = { region: run.region, firstPage: page, pageCount: end - page };
        figures.left = unionRuns([rest, ...runs.slice(index + 1)]);
        return figures;
      }
      sinceYield += step.pageCount;
      if (sinceYield >= YIELD_PAGES) {
        sinceYield = 0;
        await setImmediate();
      }
    }
  }
  return figures;
}
