import { MigrationError } from '../../shared/errors.js';
import { threadsOf } from './process-status.js';
import { ThreadGoneError, TracedThread } from './traced-thread.js';

/**
 * Stops all threads of another process, calls `use`, and lets them go on. They go on, too, if this process ends meanwhile. All
 * of it happens in one turn of the event loop (see TracedThread). Throws what TracedThread.attach does, and tracking-failed
 * if the process has ended.
 */
export function withProcessStopped<T>(pid: number, use: () => T): T {
  const stopped = new Map<number, TracedThread>();
  try {
    // Until there are no new ones: a thread that still ran may have started another.
    for (let threads = threadsOf(pid); threads.some((tid) => !stopped.has(tid)); threads = threadsOf(pid)) {
      for (const tid of threads) {
        if (!stopped.has(tid)) stopOne(pid, tid, stopped);
      }
    }
    if (stopped.size === 0) throw new MigrationError('tracking-failed', `process ${pid} has ended`);
    return use();
  } finally {
    for (const thread of stopped.values()) thread.detach();
  }
}

function stopOne(pid: number, tid: number, stopped: Map<number, TracedThread>): void {
  try {
    stopped.set(tid, TracedThread.attach(pid, tid));
  } catch (error) {
    if (!(error instanceof ThreadGoneError)) throw error;
  }
}
