import type { Timers } from '../../shared/timers.js';

/**
 * A source that neither waits in the queue nor is waited for says something at least this often: a message, or pages. One
 * that doesn't would keep the node's lock, a guest's memory or just a connection for as long as it likes. ms
 */
export const SILENT_SOURCE_MS = 60_000;

/**
 * Least that a source must send in that time once the guest's pages are under way; a thirtieth of what the slowest
 * migration allowed (64 kbit/s) sends. One that trickles would keep the node for as long as it likes. bytes
 */
export const MIN_PROGRESS_BYTES = 16 * 1024;

/** What a frame of zero pages counts for: 24 bytes that stand for as much work as many others. bytes */
export const ZERO_FRAME_PROGRESS_BYTES = 4096;

export interface SourceSubject {
  /** Grows with what the source says that gets on, in bytes; a message counts for MIN_PROGRESS_BYTES. */
  progress(): number;
  /** Whether it is the source's turn. */
  due(): boolean;
  /** It was its turn for SILENT_SOURCE_MS, up to twice of that, and less than MIN_PROGRESS_BYTES came. */
  silent(): void;
}

/** Watches one source until it has been silent once. Returns how to end it. */
export function watchSource(subject: SourceSubject, timers: Pick<Timers, 'after'>): () => void {
  let before = subject.progress();
  let wasDue = false;
  let cancel = timers.after(SILENT_SOURCE_MS, look);
  function look(): void {
    const now = subject.progress();
    const due = subject.due();
    if (due && wasDue && now - before < MIN_PROGRESS_BYTES) {
      subject.silent();
      return;
    }
    before = now;
    wasDue = due;
    cancel = timers.after(SILENT_SOURCE_MS, look);
  }
  return () => cancel();
}
