/** Timers as the lock needs them, injected so that tests run on virtual time. */
export interface Timers {
  /** Calls `run` once after `ms`; returns how to prevent that. */
  after(ms: number, run: () => void): () => void;
}

export const realTimers: Timers = {
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
