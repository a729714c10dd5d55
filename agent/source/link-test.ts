import type { LinkTestRequest, LinkTestResult } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { systemTimers } from '../../shared/timers.js';
import { formatBytes } from '../../shared/units.js';
import type { WriteLog } from '../guest/guest.js';
import { fillRandom, type ScratchMemory } from '../guest/scratch-memory.js';
import type { SourceControl } from '../link/link.js';
import { type PairHold } from '../lock/pair-lock.js';
import { Conversation } from './conversation.js';
import type { StreamedPageSender } from '../link/page-sender.js';
import { openPages, type PagesContext, type PagesToOpen } from './open-pages.js';
import { PageSending } from './page-sending.js';
import { SOURCE_TIMEOUTS } from './source-context.js';
import { StreamChoice } from './stream-choice.js';

/** Nobody writes to the memory. */
const NO_LOG: WriteLog = {
  kind: 'none',
  reason: 'nobody writes to it',
  start: () => Promise.resolve(),
  harvest: () => Promise.resolve([]),
  stop: () => Promise.resolve(),
};

export interface LinkTestContext extends PagesContext {
  /** Memory to send from. Throws target-out-of-memory where this node has none to spare. */
  readonly scratchMemory: (request: LinkTestRequest) => Promise<ScratchMemory>;
  /** Both nodes, held: a test disturbs migrations as they disturb it. */
  readonly hold: PairHold;
  readonly control: SourceControl;
}

/**
 * Sends pages from memory of this node to memory of another, round after round, by the very path that a guest's take, zero detection
 * included. Closes the control connection in the end. Throws what a migration does.
 */
export async function testLink(
  context: LinkTestContext,
  request: LinkTestRequest,
  signal: AbortSignal,
): Promise<LinkTestResult> {
  const { control, hold, id, from, to } = context;
  const stop = new AbortController();
  const conversation: Conversation = new Conversation(control, to.node, (error) => fail(error));
  const fail = (error: MigrationError) => {
    stop.abort(error);
    conversation.end(error);
  };
  const { maxMs } = request;
  const endsAt = performance.now() + (maxMs ?? Infinity);
  const cancelLimit =
    maxMs === undefined
      ? () => undefined
      : systemTimers.after(maxMs, () =>
          fail(
            new MigrationError(
              'timeout',
              `${formatBytes(request.bytes)} did not get to node ${to.node} within ${maxMs} ms`,
            ),
          ),
        );
  const onAbort = () => fail(toMigrationError(signal.reason, 'cancelled'));
  signal.addEventListener('abort', onAbort, { once: true });
  let scratch: ScratchMemory | null = null;
  let pages: PagesToOpen | null = null;
  let sender: StreamedPageSender | null = null;
  try {
    scratch = await context.scratchMemory(request);
    await fillRandom(scratch);
    signal.throwIfAborted();
    const guest = { regions: scratch.regions, writeLog: NO_LOG };
    pages = openPages(context, guest, request.streams, request.bandwidthBytesPerSecond);
    const agreed = await conversation.ask(
      {
        type: 'link-test',
        memory: request.memory,
        bytes: request.bytes,
        streams: pages.streams,
        ...(pages.token !== null && { pageToken: pages.token }),
      },
      'prepared',
      SOURCE_TIMEOUTS.prepareMs,
    );
    sender = await pages.open(agreed, stop.signal);
    sender.onClose(({ reason }) =>
      fail(new MigrationError('link-lost', `a page connection to ${to.node} ended: ${reason}`)),
    );
    const sending = new PageSending(sender, conversation, {
      subject: { id, vm: 'link-test', from, to: to.node },
      guest,
      timeouts: SOURCE_TIMEOUTS,
      now: () => performance.now(),
      onProgress: () => undefined,
      timers: systemTimers,
      choice: new StreamChoice(request.streams, pages.streams),
      signal: stop.signal,
      onStall: fail,
    });
    const runs = scratch.regions.map(({ memory }, region) => ({
      ...{ region, firstPage: 0, pageCount: memory.length / PAGE_SIZE },
    }));
    const bytesPerSecond: number[] = [];
    for (let round = 0; round < request.rounds; round += 1) {
      const startedAt = performance.now();
      if (round > 0 && startedAt > endsAt) break;
      await sending.runs(round, runs);
      await sending.barrier(round);
      bytesPerSecond.push((request.bytes / (performance.now() - startedAt)) * 1000);
    }
    const { wireBytes } = sending;
    const streams = sending.streams(agreed);
    const { memory, bytes } = request;
    return { from, to: to.node, memory, bytes, bytesPerSecond, wireBytes, streams };
  } finally {
    cancelLimit();
    signal.removeEventListener('abort', onAbort);
    conversation.end(null);
    pages?.withdraw();
    sender?.close();
    hold.release();
    control.close(CLOSE_DONE, 'the link test has ended');
    await scratch?.release();
  }
}
