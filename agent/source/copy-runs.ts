import { setImmediate } from 'node:timers/promises';
import { PAGE_SIZE, type Run, unionRuns } from '../../shared/page.js';
import { type Guest, populatedRanges, type Region, type WriteLog } from '../guest/guest.js';
import { zeroPieces } from '../guest/zero-pages.js';
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
 * Sends the content of `runs`: pages that are all zero as such, the others as views of the guest's memory, or of what
 * its write-log captured of it. `mayBeHoles`: whether there can be pages among them that are no memory, which a look would make
 * some; not where they were just told from these. `onStep` hears how far it is, and says false to stop. Throws the signal's reason when
 * aborted, and what the sender throws.
 */
export async function copyRuns(
  runs: readonly Run[],
  { regions, writeLog }: Pick<Guest, 'regions' | 'writeLog'>,
  mayBeHoles: boolean,
  sender: PageSender,
  signal: AbortSignal,
  onStep: (pagesDone: number) => boolean,
): Promise<CopyFigures> {
  const figures: CopyFigures = { pages: 0, zeroPages: 0, bytes: 0, left: [] };
  let sinceYield = 0;
  for (const [index, run] of runs.entries()) {
    for (const { content, ...step } of stepsOf(run, regions[run.region]!, writeLog, mayBeHoles)) {
      signal.throwIfAborted();
      if (content) {
        await sender.sendPages(step, content);
        figures.bytes += step.pageCount * PAGE_SIZE;
      } else {
        await sender.sendZeroPages(step);
        figures.zeroPages += step.pageCount;
      }
      figures.pages += step.pageCount;
      if (!onStep(figures.pages)) {
        const firstPage = step.firstPage + step.pageCount;
        const rest = { region: run.region, firstPage, pageCount: run.firstPage + run.pageCount - firstPage };
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

/** Pages that go over the link together. `content`: null where they are all zero. */
interface Step extends Run {
  readonly content: Uint8Array | null;
}

/** A run in the pieces that it is sent in. Holes are told as zero pages without a look at them. */
function* stepsOf(run: Run, region: Region, writeLog: WriteLog, mayBeHoles: boolean): Generator<Step> {
  const end = run.firstPage + run.pageCount;
  for (let page = run.firstPage; page < end;) {
    // Up to where the link would cut it anyway.
    const chunkEnd = Math.min(end, page + STEP_PAGES - (page % STEP_PAGES));
    const chunk: Run = { ...run, firstPage: page, pageCount: chunkEnd - page };
    // What a log has captured is what must be sent, holes included: the guest may be filling one.
    const captured = writeLog.capture?.(chunk);
    if (captured) {
      yield* piecesOf(chunk, captured);
      page = chunkEnd;
      continue;
    }
    let done = page;
    for (const data of mayBeHoles ? populatedRanges(region, page, chunk.pageCount) : [chunk]) {
      if (data.firstPage > done) yield hole(run, done, data.firstPage);
      done = data.firstPage + data.pageCount;
      const view = region.memory.subarray(data.firstPage * PAGE_SIZE, done * PAGE_SIZE);
      yield* piecesOf({ ...data, region: run.region }, view);
    }
    if (done < chunkEnd) yield hole(run, done, chunkEnd);
    page = chunkEnd;
  }
}

function hole({ region }: Run, firstPage: number, endPage: number): Step {
  return { region, firstPage, pageCount: endPage - firstPage, content: null };
}

/** A run with its content, cut where pages turn to zero and back. */
function* piecesOf({ region, firstPage, pageCount }: Run, content: Uint8Array): Generator<Step> {
  for (const piece of zeroPieces(content, 0, pageCount)) {
    const start = piece.firstPage * PAGE_SIZE;
    yield {
      region,
      firstPage: firstPage + piece.firstPage,
      pageCount: piece.pageCount,
      content: piece.zero ? null : content.subarray(start, start + piece.pageCount * PAGE_SIZE),
    };
  }
}
