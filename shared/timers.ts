/** The clock and the timers of everything that waits; injected, so that tests need not. */
export interface Timers {
  /** Monotonic time in ms. */
  now(): number;
  /** Calls `callback` once after `ms`; returns how to cancel it. */
  after(ms: number, callback: () => void): () => void;
}

/**
 * Timers of the process. They keep it alive: whoever sets one ends it. One that is late, since the process was stopped or had much
 * to do, goes off after what came meanwhile has been read: no peer is taken for silent that was just not listened to.
 */
export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, callback) {
    let reading: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      // Immediates come after the event loop's turn to read.
      reading = setImmediate(callback);
    }, ms);
    return () => {
      clearTimeout(timer);
      clearImmediate(reading);
    };
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
