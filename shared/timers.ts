/** The clock and the timers of everything that waits; injected, so that tests need not. */
export interface Timers {
  /** Monotonic time in ms. */
  now(): number;
  /** Calls `callback` once after `ms`; returns how to cancel it. */
  after(ms: number, callback: () => void): () => void;
}

/** Timers of the process. They keep it alive: whoever sets one ends it. */
export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or at once when `signal` aborts. */
export function delay(timers: Pick<Timers, 'after'>, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const cancel = timers.after(ms, end);
    if (signal?.aborted) end();
    else signal?.addEventListener('abort', end, { once: true });
  });
}
