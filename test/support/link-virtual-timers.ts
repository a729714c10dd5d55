import type { Timers } from '../../shared/timers.js';

interface Scheduled {
  at: number;
  order: number;
  callback: () => void;
}

/** A clock that moves only when told to. */
export class VirtualTimers implements Timers {
  #now = 0;
  #order = 0;
  readonly #scheduled = new Set<Scheduled>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const entry = { at: this.#now + Math.max(0, ms), order: this.#order++, callback };
    this.#scheduled.add(entry);
    return () => this.#scheduled.delete(entry);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#scheduled.size;
  }

  /** Moves on by `ms`, calling what is due on the way, with all that follows from it. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#scheduled].sort((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined || next.at > end) break;
      this.#scheduled.delete(next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets promises and in-memory deliveries that are due happen. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
