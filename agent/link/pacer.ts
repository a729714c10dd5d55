import { PAGE_SIZE } from '../../shared/page.js';
import { delay, type Timers } from '../../shared/timers.js';

/** Time whose unused share of the rate may be caught up with: covers timers that fire late. ms */
const CATCH_UP_MS = 50;

/** Largest piece that is sent at once, as time at the given rate; what keeps a slow link's bursts short. ms */
const PIECE_MS = 10;

/**
 * Keeps what is sent to a rate: a token bucket that may go into debt. Whoever takes waits until earlier debt is paid,
 * so in any span of time t no more passes than rate * (t + 50 ms) and one piece; the average is exact.
 */
export class Pacer {
  readonly #bytesPerMs: number;
  readonly #timers: Timers;
  /** When all that was taken so far is paid for, on the clock of the timers. */
  #paidAt: number;

  /** `bytesPerSecond` is greater than 0. */
  constructor(bytesPerSecond: number, timers: Timers) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#timers = timers;
    this.#paidAt = timers.now();
  }

  /** The most to take at once: whole pages, at least one. */
  get pieceBytes(): number {
    return Math.max(1, Math.floor((this.#bytesPerMs * PIECE_MS) / PAGE_SIZE)) * PAGE_SIZE;
  }

  /** Takes `bytes`, then waits until what was taken before them is paid for. Returns early if `signal` aborts. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const now = this.#timers.now();
    const start = Math.max(this.#paidAt, now - CATCH_UP_MS);
    this.#paidAt = start + bytes / this.#bytesPerMs;
    if (start > now) await delay(this.#timers, start - now, signal);
  }
}
