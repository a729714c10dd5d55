import type { BenchGuest } from './bench-guest.js';
import type { Move } from './bench-report.js';

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

/** The guest runs this long before and after a move: its working set is in use, its work is measured. ms */
export const WORK_MS = 500;
