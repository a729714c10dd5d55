import type { MigrationEvent } from '../../shared/api.js';

/** Events kept for subscribers that come late or come back; bounds the memory of one migration. */
export const MAX_KEPT_EVENTS = 2000;

type WithoutStamp<E> = E extends unknown ? Omit<E, 'seq' | 'at' | 'migration'> : never;

/** What happens to one migration, in order, for any number of subscribers. */
export class MigrationEvents {
  readonly #migration: string;
  readonly #kept: MigrationEvent[] = [];
  readonly #waiting = new Set<() => void>();
  #seq: number;
  #ended = false;

  /** The numbers of the events go on from `seq`. */
  constructor(migration: string, seq = 0) {
    this.#migration = migration;
    this.#seq = seq;
  }

  emit(event: WithoutStamp<MigrationEvent>): void {
    if (this.#ended) return;
    this.#seq += 1;
    const stamped = { seq: this.#seq, at: new Date().toISOString(), migration: this.#migration, ...event };
    // Progress is worth nothing once there is newer progress.
    if (event.event === 'progress' && this.#kept.at(-1)?.event === 'progress') this.#kept.pop();
    this.#kept.push(stamped);
    if (this.#kept.length > MAX_KEPT_EVENTS) this.#kept.shift();
    this.#ended = event.event === 'ended';
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Events with seq > `after`, those kept first, then as they happen; ends after 'ended' or when aborted. */
  async *since(after: number, signal: AbortSignal): AsyncGenerator<MigrationEvent> {
    let seen = after;
    while (!signal.aborted) {
      const next = this.#kept.find(({ seq }) => seq > seen);
      if (next) {
        seen = next.seq;
        yield next;
        if (next.event === 'ended') return;
      } else if (this.#ended) {
        return;
      } else {
        await this.#more(signal);
      }
    }
  }

  #more(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
