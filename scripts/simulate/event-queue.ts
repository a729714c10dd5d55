import TinyQueue from 'tinyqueue';

interface QueuedEvent {
  readonly at: number;
  /** Tells events of one moment apart: the one that was scheduled first happens first. */
  readonly order: number;
  readonly happen: () => void;
  cancelled: boolean;
}

/** The clock of a simulation: what is to happen, in the order of time. Nothing waits for real. */
export class EventQueue {
  readonly #events = new TinyQueue<QueuedEvent>([], (a, b) => a.at - b.at || a.order - b.order);
  #now = 0;
  #scheduled = 0;

  /** ms since the beginning */
  get now(): number {
    return this.#now;
  }

  /** Events that were scheduled so far. */
  get scheduled(): number {
    return this.#scheduled;
  }

  /** Returns how to call it off; harmless once it has happened. */
  at(ms: number, happen: () => void): () => void {
    const event = { at: Math.max(ms, this.#now), order: this.#scheduled, happen, cancelled: false };
    this.#scheduled += 1;
    this.#events.push(event);
    return () => (event.cancelled = true);
  }

  after(ms: number, happen: () => void): () => void {
    return this.at(this.#now + ms, happen);
  }

  /** Until nothing is left to happen. `momentOver`: what is worked out once of all that happened at one moment. */
  run(momentOver: () => void): void {
    momentOver();
    for (let event = this.#events.pop(); event; event = this.#events.pop()) {
      if (event.cancelled) continue;
      this.#now = event.at;
      event.happen();
      if (this.#events.peek()?.at !== this.#now) momentOver();
    }
  }
}
