import type { Timers } from '../../shared/timers.js';

/** Timers on virtual time: nothing happens until it is told to; equal times in the order in which they were set. */
export class VirtualTimers implements Pick<Timers, 'after'> {
  now = 0;
  #count = 0;
  readonly #waiting = new Map<number, { at: number; run: () => void }>();

  after(ms: number, run: () => void): () => void {
    const id = this.#count;
    this.#count += 1;
    this.#waiting.set(id, { at: this.now + ms, run });
    return () => void this.#waiting.delete(id);
  }

  get pending(): number {
    return this.#waiting.size;
  }

  /** Runs the next timer, and lets the promises that it settles run too. False if there is none until `endMs`. */
  async step(endMs = Infinity): Promise<boolean> {
    let next: { id: number; at: number; run: () => void } | undefined;
    for (const [id, timer] of this.#waiting) {
      if (!next || timer.at < next.at) next = { id, ...timer };
    }
    if (!next || next.at > endMs) return false;
    this.#waiting.delete(next.id);
    this.now = next.at;
    next.run();
    await promisesSettled();
    return true;
  }

  /** Runs everything that is due within `ms`. */
  async advance(ms: number): Promise<void> {
    const endMs = this.now + ms;
    await promisesSettled();
    while (await this.step(endMs)) continue;
    this.now = endMs;
  }
}

/** Resolves when every promise that can settle by itself has. */
export function promisesSettled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
