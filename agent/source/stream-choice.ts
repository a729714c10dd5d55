import type { MigrationOptions, StreamsReport } from '../../shared/api.js';
import { formatRate } from '../../shared/units.js';

/**
 * How many of a migration's page streams carry pages. Each stream is read by a thread of the target, so more of them pay
 * where the target's processor is what limits, and are of no use where the link does. Which of the two it is shows in round 0:
 * one stream is measured, then two, then one again, and if two carried more than either time, four; and so on. Later rounds keep what was best. Pure: bytes and times in,
 * a number of streams out.
 */

/** Streams opened for 'auto': more than one thread of this side can fill. */
export const MAX_AUTO_STREAMS = 4;

/** What one number of streams is measured by at least: enough to fill all buffers on the way many times over. bytes */
export const TRIAL_BYTES = 48 * 2 ** 20;

/** More streams must carry this many times as much to be kept: a few per cent are noise. */
export const WORTHWHILE_GAIN = 1.1;

/** Streams to open on a host with so many processors. */
export function streamsToOpen(wanted: MigrationOptions['streams'], processors: number): number {
  return wanted === 'auto' ? Math.min(MAX_AUTO_STREAMS, processors) : wanted;
}

/** Sent before anything is measured: code is compiled, the window of the connection grows. bytes */
export const WARM_UP_BYTES = 16 * 2 ** 20;

type Trial = StreamsReport['tried'][number];

export class StreamChoice {
  readonly #open: number;
  readonly #measured: boolean;
  readonly #trials: Trial[] = [];
  #streams: number;
  /** What was best so far, and what looks better until that is measured once more. */
  #best: Trial | null = null;
  #candidate: Trial | null = null;
  /** Where the trial that runs began; null before the first byte. */
  #since: { ms: number; bytes: number } | null = null;
  #settled: boolean;

  /** `open` streams there are; with a number that was asked for, all of them are used. */
  constructor(wanted: MigrationOptions['streams'], open: number) {
    this.#open = open;
    this.#measured = wanted === 'auto' && open > 1;
    this.#settled = !this.#measured;
    this.#streams = this.#measured ? 1 : open;
  }

  /** Streams to use now. */
  get streams(): number {
    return this.#streams;
  }

  /** So many bytes were taken by the link until then. To be called often while round 0 is sent. */
  observe(nowMs: number, takenBytes: number): void {
    if (this.#settled || takenBytes < WARM_UP_BYTES) return;
    const since = (this.#since ??= { ms: nowMs, bytes: takenBytes });
    const bytes = takenBytes - since.bytes;
    if (bytes < TRIAL_BYTES || nowMs <= since.ms) return;
    this.#since = { ms: nowMs, bytes: takenBytes };
    this.#tried({ streams: this.#streams, bytesPerSecond: (bytes / (nowMs - since.ms)) * 1000 });
  }

  /** Round 0 is over: what was best so far stays. */
  settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#streams = this.#best?.streams ?? 1;
  }

  #tried(trial: Trial): void {
    this.#trials.push(trial);
    const { bytesPerSecond } = trial;
    if (this.#candidate) {
      // The fewer streams once more, after the more: a machine that just became warm has gained nothing by these.
      const gained = this.#candidate.bytesPerSecond >= bytesPerSecond * WORTHWHILE_GAIN;
      if (gained) this.#best = this.#candidate;
      this.#candidate = null;
      if (!gained) this.settle();
      else this.#tryMore();
    } else if (!this.#best) {
      this.#best = trial;
      this.#tryMore();
    } else if (bytesPerSecond >= this.#best.bytesPerSecond * WORTHWHILE_GAIN) {
      this.#candidate = trial;
      this.#streams = this.#best.streams;
    } else this.settle();
  }

  #tryMore(): void {
    const { streams } = this.#best!;
    if (streams === this.#open) this.settle();
    else this.#streams = Math.min(2 * streams, this.#open);
  }

  report(transport: StreamsReport['transport']): StreamsReport {
    return {
      transport,
      open: this.#open,
      used: this.#streams,
      reason: this.#reason(),
      tried: [...this.#trials],
    };
  }

  #reason(): string {
    if (!this.#measured) return this.#open === 1 ? 'one was opened' : 'as asked for';
    if (this.#trials.length < 2) return 'too little was sent to try more';
    const rates = this.#trials.map(
      ({ streams, bytesPerSecond }) => `${formatRate(bytesPerSecond)} with ${streams}`,
    );
    return `measured in round 0: ${rates.join(', ')}`;
  }
}
