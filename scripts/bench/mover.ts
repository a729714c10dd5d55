import { setTimeout } from 'node:timers/promises';
import type { BenchGuest } from './bench-guest.js';
import type { Move } from './bench-report.js';
import type { WorkReport } from './work-rate.js';

/** One way to move guests. */
export interface Mover {
  /** 'vmferry', 'QEMU precopy', ... */
  readonly name: string;
  /** Whether it moves guests that vmferry can't move as they are: it is shown beside, and no ratio is to it. */
  readonly beside: boolean;
  /** Boots a guest; resolves once its memory is filled, with the guest paused. */
  boot(guest: BenchGuest): Promise<Traveller>;
}

/** A guest that goes there and back. It is paused between its moves, so that it does not disturb those of others. */
export interface Traveller {
  /** Lets it run for a moment, moves it, lets it run for a moment, and pauses it where it is then. */
  migrate(): Promise<Move>;
  end(): Promise<void>;
}

/** What is asked of all movers alike. */
export interface MoveLimits {
  /** Switchover no longer than this. ms */
  readonly maxDowntimeMs: number;
  /** Time of copying after which the switchover happens, however long it takes. ms */
  readonly maxTimeMs: number;
}

/** A guest works this long before and after a move, by its own clock: its working set is in use, its rate is measured. ms */
const WORK_MS = 500;

/** Between two looks at what it has reported. ms */
const LOOK_MS = 20;

/** A guest that works reports every 20 ms, a few times later on a host that is busy; one that does not for so long has crashed. ms */
const SILENT_MS = 10_000;

/**
 * Lets a guest that runs work for a while; false if it has stopped working. `reports`: those since it runs; null for a guest
 * that makes none.
 */
export async function letWork(reports: (() => Promise<readonly WorkReport[]>) | null): Promise<boolean> {
  if (reports === null) {
    await setTimeout(WORK_MS);
    return true;
  }
  let count = 0;
  for (let heardAt = performance.now(); performance.now() - heardAt < SILENT_MS; await setTimeout(LOOK_MS)) {
    const made = await reports();
    const [first, last] = [made.at(0), made.at(-1)];
    if (first && last && last.microseconds - first.microseconds >= WORK_MS * 1000) return true;
    if (made.length > count) heardAt = performance.now();
    count = made.length;
  }
  return false;
}
