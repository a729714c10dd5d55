/** Threads that are kept for the next migration: starting one takes 40 ms, which is a tenth of a small migration. */
export class ThreadPool<Thread extends { end(): Promise<void> }> {
  readonly #most: number;
  readonly #startThread: (onExit: () => void) => Thread;
  readonly #idle: Thread[] = [];
  readonly #all = new Set<Thread>();
  #closing = false;

  /** `most`: threads that are kept. `start`: starts one, and calls `onExit` when it is no more. */
  constructor(most: number, start: (onExit: () => void) => Thread) {
    this.#most = most;
    this.#startThread = start;
  }

  /** Starts those that are kept, so that the first migration has them. */
  warmUp(): void {
    while (this.#idle.length < this.#most) this.#idle.push(this.#start());
  }

  /** One that is free, or a new one. */
  take(): Thread {
    return this.#idle.pop() ?? this.#start();
  }

  /** It is free again. */
  give(thread: Thread): void {
    if (!this.#all.has(thread) || this.#idle.includes(thread)) return;
    if (this.#closing || this.#idle.length >= this.#most) void thread.end();
    else this.#idle.push(thread);
  }

  /** Ends all, also those that are in use. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  #start(): Thread {
    const thread: Thread = this.#startThread(() => {
      this.#all.delete(thread);
      const index = this.#idle.indexOf(thread);
      if (index >= 0) this.#idle.splice(index, 1);
    });
    this.#all.add(thread);
    return thread;
  }
}
