/** Work of which so much goes on at once, and so much of that for one party; the rest waits, in order of arrival. */
export class Slots {
  readonly #most: number;
  readonly #mostOfParty: number;
  readonly #running = new Map<string, number>();
  readonly #waiting = new Set<{ readonly party: string; readonly start: () => void }>();

  constructor(most: number, mostOfParty: number) {
    this.#most = most;
    this.#mostOfParty = mostOfParty;
  }

  /** Does `work` when it is its turn. Rejects with the reason of `signal` if that aborts before. */
  async run<T>(party: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#turn(party, signal);
    try {
      return await work();
    } finally {
      const left = this.#of(party) - 1;
      if (left > 0) this.#running.set(party, left);
      else this.#running.delete(party);
      this.#next();
    }
  }

  #turn(party: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(entry);
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the reason is the caller's
        reject(signal.reason);
      };
      const start = () => {
        this.#waiting.delete(entry);
        this.#running.set(party, this.#of(party) + 1);
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const entry = { party, start };
      if (signal.aborted) {
        leave();
        return;
      }
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.add(entry);
      this.#next();
    });
  }

  #next(): void {
    for (const { party, start } of this.#waiting) {
      const total = [...this.#running.values()].reduce((sum, count) => sum + count, 0);
      if (total >= this.#most) return;
      if (this.#of(party) < this.#mostOfParty) start();
    }
  }

  #of(party: string): number {
    return this.#running.get(party) ?? 0;
  }
}
