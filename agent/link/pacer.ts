import { PAGE_SIZE } from '../../shared/page.js';
import { delay, type Timers } from '../../shared/timers.js';

/** Time whose unused share of the rate may be caught up with: covers timers that fire late. ms */
const CATCH_UP_MS = 20;

/** Largest piece that is sent at once, as time at the rate; what keeps a slow link's bursts short. ms */
const PIECE_MS = 5;

/** Of a frame beside its pages, or more. bytes */
const OVERHEAD_BYTES = 64;

/**
 * Keeps what is sent to a rate: a token bucket that may go into debt. Whoever takes waits until earlier debt is paid,
 * so in any span of time t no more passes than rate * (t + 25 ms), 2.5 % over a second; the average is exact.
 */
export class Pacer {
  readonly #timers: Timers;
  /** 0: there is no limit. */
  #bytesPerMs: number;
  /** When all that was taken so far is paid for, on the clock of the timers. */
  #paidAt: number;
  /** Lets whoever waits look again. */
  #changed = new AbortController();
  readonly #signal: AbortSignal | undefined;

  /** `bytesPerSecond`: 0 for no limit. Once `signal` aborts nobody waits any more. */
  constructor(bytesPerSecond: number, timers: Timers, signal?: AbortSignal) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#timers = timers;
    this.#paidAt = timers.now();
    this.#signal = signal;
    signal?.addEventListener('abort', () => this.#changed.abort(), { once: true });
  }

  get limited(): boolean {
    return this.#bytesPerMs > 0;
  }

  /** The most to take at once: whole pages, at least one; Infinity where there is no limit. */
  get pieceBytes(): number {
    if (!this.limited) return Infinity;
    return Math.max(1, Math.floor((this.#bytesPerMs * PIECE_MS) / PAGE_SIZE)) * PAGE_SIZE;
  }

  /** Another rate from now on, 0 for none. What is owed is paid for at that, a piece at most: it was sent by the rate before. */
  change(bytesPerSecond: number): void {
    const now = this.#timers.now();
    const owedBytes = Math.max(0, this.#paidAt - now) * this.#bytesPerMs;
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#paidAt = now + (this.limited ? this.#priceMs(owedBytes) : 0);
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Waits until what was taken before is paid for, then takes `bytes`. */
  async take(bytes: number): Promise<void> {
    for (;;) {
      const now = this.#timers.now();
      if (!this.limited) return;
      if (this.#paidAt <= now || this.#signal?.aborted) {
        const start = Math.max(this.#paidAt, now - CATCH_UP_MS);
        this.#paidAt = start + this.#priceMs(bytes);
        return;
      }
      await delay(this.#timers, this.#paidAt - now, this.#changed.signal);
    }
  }

  /** A piece that was cut by a higher rate costs no more than one of this: it would hold up everything for as long. */
  #priceMs(bytes: number): number {
    return Math.min(bytes, this.pieceBytes + OVERHEAD_BYTES) / this.#bytesPerMs;
  }
}
