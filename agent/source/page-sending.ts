import type { StreamsReport } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { countPages, type Run } from '../../shared/page.js';
import type { Timers } from '../../shared/timers.js';
import type { Guest } from '../guest/guest.js';
import { PAGES_BY_WEBSOCKET } from '../link/link-paths.js';
import type { PageSender } from '../link/link.js';
import type { Conversation } from './conversation.js';
import { type CopyFigures, copyRuns } from './copy-runs.js';
import type { AgreedPages, SourceContext } from './source-context.js';
import type { StreamChoice } from './stream-choice.js';

/** Progress is reported this often at most. ms */
const PROGRESS_EVERY_MS = 100;

/** A stall is counted in that many looks, so that a process that was itself stopped for a while sees one pass, not all. */
const STALL_LOOKS = 4;

export interface PageSendingContext extends Pick<
  SourceContext,
  'subject' | 'timeouts' | 'now' | 'onProgress'
> {
  readonly guest: Pick<Guest, 'regions' | 'writeLog'>;
  readonly timers: Pick<Timers, 'after'>;
  /** Streams that carry the pages. */
  readonly choice: StreamChoice;
  /** Ends what is being sent. */
  readonly signal: AbortSignal;
  /** The peer takes nothing any more. Expected to abort `signal`. */
  readonly onStall: (error: MigrationError) => void;
}

/** Sends rounds over a page sender, watches that it gets on and reports how far it is. */
export class PageSending {
  readonly #sender: PageSender;
  readonly #conversation: Conversation;
  readonly #context: PageSendingContext;

  constructor(sender: PageSender, conversation: Conversation, context: PageSendingContext) {
    this.#sender = sender;
    this.#conversation = conversation;
    this.#context = context;
    sender.use(context.choice.streams);
  }

  get wireBytes(): number {
    return this.#sender.wireBytes;
  }

  async blob(...piece: Parameters<PageSender['sendBlob']>): Promise<void> {
    await this.#watch(() => this.#sender.sendBlob(...piece));
  }

  /**
   * Sends the content of `runs` as part of `round`; what is left at `deadline` (by the context's clock, ms) is returned
   * instead. Throws the signal's reason, or what the sender throws.
   */
  async runs(round: number, runs: readonly Run[], deadline = Infinity): Promise<CopyFigures> {
    const { guest, now, onProgress, signal, choice } = this.#context;
    const pagesTotal = countPages(runs);
    const startedAt = now();
    const wireBefore = this.#sender.wireBytes;
    let reportedAt = startedAt;
    return await this.#watch(() =>
      copyRuns(runs, guest, round > 0, this.#sender, signal, (pagesDone) => {
        const at = now();
        // Round 0 sends no page twice, so pages may change streams in it.
        if (round === 0) {
          choice.observe(at, this.#sender.takenBytes);
          this.#sender.use(choice.streams);
        }
        if (at - reportedAt >= PROGRESS_EVERY_MS) {
          reportedAt = at;
          const bytes = this.#sender.wireBytes - wireBefore;
          onProgress({ round, pagesDone, pagesTotal, bytesPerSecond: (bytes / (at - startedAt)) * 1000 });
        }
        return at < deadline;
      }),
    );
  }

  /** Ends the round and waits until the target has applied all of it. */
  async barrier(round: number): Promise<void> {
    if (round === 0) {
      this.#context.choice.settle();
      this.#sender.use(this.#context.choice.streams);
    }
    // A slow link may take long over what is in flight: the time for the answer runs from the last byte that it took.
    const sent = this.#watch(() => this.#sender.sendRoundEnd(round));
    const [ack] = await Promise.all([
      this.#conversation.expect('round-ack', this.#context.timeouts.roundAckMs, sent),
      sent,
    ]);
    if (ack.round !== round) {
      throw new MigrationError(
        'unexpected-message',
        `the target acknowledged round ${ack.round} in round ${round}`,
      );
    }
  }

  streams({ transport, findings }: AgreedPages): StreamsReport {
    const finding = findings.find(({ code }) => code === PAGES_BY_WEBSOCKET);
    return { ...this.#context.choice.report(transport), ...(finding && { finding }) };
  }

  close(error?: MigrationError): void {
    this.#sender.close(error);
  }

  async #watch<T>(send: () => Promise<T>): Promise<T> {
    const { timers, timeouts, subject, onStall } = this.#context;
    const lookEveryMs = timeouts.stallMs / STALL_LOOKS;
    let takenBytes = this.#sender.takenBytes;
    let looks = 0;
    let cancel: () => void;
    const look = () => {
      looks = this.#sender.takenBytes === takenBytes ? looks + 1 : 0;
      takenBytes = this.#sender.takenBytes;
      if (looks < STALL_LOOKS) {
        cancel = timers.after(lookEveryMs, look);
        return;
      }
      const text = `node ${subject.to} is connected but has taken no pages for ${timeouts.stallMs} ms`;
      onStall(new MigrationError('timeout', text));
    };
    cancel = timers.after(lookEveryMs, look);
    try {
      return await send();
    } finally {
      cancel();
    }
  }
}
