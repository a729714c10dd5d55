import type { Timers } from '../../shared/timers.js';

/**
 * A source that neither waits in the queue nor is waited for says something at least this often: a message, or pages. One
 * that doesn't would keep the node's lock, a guest's memory or just a connection for as long as it likes. ms
 */
export const SILENT_SOURCE_MS = 60_000;

export interface SourceSubject {
  /** Grows with whatever the source says. */
  heard(): number;
  /** Whether it is the source's turn. */
  due(): boolean;
  /** It was its turn for SILENT_SOURCE_MS, up to twice of that, and nothing came. */
  silent(): void;
}

/** Watches one source until it has been silent once. Returns how to end it. */
export function watchSource(subject: SourceSubject, timers: Pick<Timers, 'after'>): () => void {
  let before = subject.heard();
  let wasDue = false;
  let cancel = timers.after(SILENT_SOURCE_MS, look);
  function look(): void {
    const now = subject.heard();
    const due = subject.due();
    if (due && wasDue && now === before) {
      subject.silent();
      return;
    }
    before = now;
    wasDue = due;
    cancel = timers.after(SILENT_SOURCE_MS, look);
  }
  return () => cancel();
}
