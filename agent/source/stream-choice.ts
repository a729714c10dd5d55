import type { MigrationOptions, StreamsReport } from '../../shared/api.js';
import { formatRate } from '../../shared/units.js';

/**
 * How many of a migration's page streams carry pages. Each stream is read by a thread of the target, so more of them pay
 * where the target's processor is what limits, and are of no use where the link does. Which of the two it is shows in round 0:
 * one stream is measured, then two, then four, for as long as the rate grows. Later rounds keep what was best. Pure: bytes and times in,
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

export class StreamChoice {
  readonly #open: number;
  readonly #measured: boolean;
  readonly #tried: { streams: number; bytesPerSecond: number }[] = [];
  #streams: number;
  /** Where the trial that runs began; null before the first byte and after the last trial. */
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
    if (this.#settled) return;
    const since = (this.#since ??= { ms: nowMs, bytes: takenBytes });
    const bytes = takenBytes - since.bytes;
    if (bytes < TRIAL_BYTES || nowMs <= since.ms) return;
    const before = this.#tried.at(-1)?.bytesPerSecond ?? 0;
    const bytesPerSecond = (bytes / (nowMs - since.ms)) * 1000;
    this.#tried.push({ streams: this.#streams, bytesPerSecond });
    if (bytesPerSecond < before * WORTHWHILE_GAIN || this.#streams === this.#open) {
      this.settle();
      return;
    }
    this.#streams = Math.min(2 * this.#streams, this.#open);
    this.#since = { ms: nowMs, bytes: takenBytes };
  }

  /** Round 0 is over: what was best so far stays. */
  settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    let best = { streams: 1, bytesPerSecond: 0 };
    for (const trial of this.#tried) {
      if (trial.bytesPerSecond >= best.bytesPerSecond * WORTHWHILE_GAIN) best = trial;
    }
    this.#streams = best.streams;
  }

  report(transport: StreamsReport['transport']): StreamsReport {
    return {
      transport,
      open: this.#open,
      used: this.#streams,
      reason: this.#reason(),
      tried: [...this.#tried],
    };
  }

  #reason(): string {
    if (!this.#measured) return this.#open === 1 ? 'one was opened' : 'as asked for';
    if (this.#tried.length < 2) return 'too little was sent to try more';
    const rates = this.#tried.map(
      ({ streams, bytesPerSecond }) => `${formatRate(bytesPerSecond)} with ${streams}`,
    );
    return `measured in round 0: ${rates.join(', ')}`;
  }
}
