import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { Run } from '../../shared/page.js';

/** One contiguous range of guest physical memory, mapped: reads and writes go to the guest's own memory. */
export interface Region {
  readonly name: string;
  /** Whole pages; may be shared with a running guest, so its content can change at any moment. */
  readonly memory: Uint8Array;
}

/** The record of pages written since it was last harvested. */
export interface WriteLog {
  /** How it tracks, as shown by preflight and in the result: 'store-path', 'userfaultfd', ... */
  readonly kind: string;
  /** Why this one: one line for the operator. */
  readonly reason: string;
  /** Starts with an empty log. Every write after it resolves is in some later harvest. */
  start(): Promise<void>;
  /** Takes the pages written since the start or the last harvest: ascending, disjoint, atomic per page. */
  harvest(): Promise<Run[]>;
  /** Ends tracking. Harmless when not started. */
  stop(): Promise<void>;
}

export type GuestState = 'running' | 'paused' | 'finished';

/**
 * A virtual machine that can be migrated. The engine knows guests by this interface alone.
 * Failures are MigrationErrors with code guest-failed; loadState throws load-failed.
 */
export interface Guest {
  readonly definition: GuestDefinition;
  readonly regions: readonly Region[];
  readonly writeLog: WriteLog;
  /** 'finished': the guest has powered itself off; it can be migrated and stays finished. */
  readonly state: GuestState;
  /** Pages that may differ from zero: what round 0 copies. To be called after writeLog.start(). */
  populated(): Promise<Run[]>;
  /** Stops all virtual CPUs; memory and state stand still once it resolves. Harmless when paused. */
  pause(): Promise<void>;
  /** Lets the guest run. Harmless when running; no effect on a finished one. */
  resume(): Promise<void>;
  /** CPU and device state of a paused guest, without its memory. */
  saveState(): Promise<Uint8Array>;
  /** Gives a paused guest that state; its regions hold the matching memory by then. */
  loadState(state: Uint8Array): Promise<void>;
  /** Ends it and frees all that it holds. Harmless when repeated. */
  destroy(): Promise<void>;
}
