/** Guest time that a guest may be late and still catch up on; more is forgiven, lest it never rests again. */
const MAX_CATCH_UP_MS = 20;

/**
 * Paces a guest against the wall clock: when it waits for a timer, says how long to wait outside so that a second
 * of guest time takes a second. A guest that was too busy to keep up catches up a little and is forgiven the rest.
 */
export class Pacer {
  readonly #now: () => number;
  /** Wall time minus guest time of a guest that is on time. ms */
  #ahead = Number.NaN;

  /** `now` is a monotonic clock. ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Forgets what was: the guest starts to run, at any guest time. */
  restart(): void {
    this.#ahead = Number.NaN;
  }

  /** How long to wait until a guest that is at `guestMs` is at `wakeMs` of guest time; 0: it is late. ms */
  waitMs(guestMs: number, wakeMs: number): number {
    const now = this.#now();
    if (Number.isNaN(this.#ahead)) this.#ahead = now - guestMs;
    this.#ahead = Math.max(this.#ahead, now - MAX_CATCH_UP_MS - guestMs);
    return Math.max(0, this.#ahead + wakeMs - now);
  }
}
