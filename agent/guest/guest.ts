import type { GuestDefinition } from '../../shared/guest-definition.js';
import type { Run } from '../../shared/page.js';

/** Consecutive pages of one region. */
export interface PageRange {
  readonly firstPage: number;
  readonly pageCount: number;
}

/** One contiguous range of guest physical memory, mapped: reads and writes go to the guest's own memory. */
export interface Region {
  readonly name: string;
  /** Whole pages; may be shared with a running guest, so its content can change at any moment. */
  readonly memory: Uint8Array;
  /**
   * The parts of a range that hold data, ascending; the rest are holes, which are zero, and which a look through `memory`
   * would fill with memory. Absent where a region has no holes.
   */
  populated?(firstPage: number, pageCount: number): PageRange[];
  /** Puts bytes at an offset: what a copy into `memory` does, faster or safer. Throws target-out-of-memory. */
  readonly write?: (offset: number, bytes: Uint8Array) => void;
  /** Makes a range zero by giving its memory back. Absent where a region has no holes. */
  clear?(firstPage: number, pageCount: number): void;
  /** How another thread gets at the same memory; see region-handle.ts. Absent where none can. */
  readonly handle?: RegionHandle;
}

/** Memory that threads share, as it is passed between them: a buffer, or window number `window` of a mapped file. */
export type RegionHandle =
  | { readonly name: string; readonly buffer: SharedArrayBuffer }
  | { readonly name: string; readonly path: string; readonly fileBytes: number; readonly window: number };

/** The parts of a range that hold data: all of it where the region has no holes. */
export function populatedRanges(region: Region, firstPage: number, pageCount: number): PageRange[] {
  return region.populated?.(firstPage, pageCount) ?? [{ firstPage, pageCount }];
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
  /**
   * Throws tracking-failed where writes may be in no harvest so far: to be asked once more when the guest stands still.
   * Absent where a harvest itself tells.
   */
  confirm?(): void;
  /** Ends tracking. Harmless when not started. */
  stop(): Promise<void>;
  /**
   * The content of a run that is about to be sent, as a copy that stands still. There where the log compares memory with
   * what was sent: it must know exactly that. Absent where memory is sent as it is.
   */
  capture?(run: Run): Uint8Array;
}

/** Takes the next piece of a guest's CPU and device state, which nobody changes any more. */
export type StateSink = (piece: Uint8Array) => void;

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
  /** Why the guest can't go on: its machine failed. Null while it is well. */
  readonly failure: Error | null;
  /** Calls `listener` when `state` or `failure` has changed. Returns how to end that. */
  onChange(listener: () => void): () => void;
  /** Stops all virtual CPUs, as its operator asked for. Harmless when paused. */
  pause(): Promise<void>;
  /**
   * Stops all virtual CPUs for saveState(); memory and state stand still once it resolves. What of the state can be saved
   * before that, if anything, goes to `state`. Returns when they stopped, in Unix ms by this host's clock: the work before
   * that does not count as downtime. A paused or finished guest stays so.
   */
  pauseForSwitchover(state: StateSink): Promise<number>;
  /** Takes pauseForSwitchover() back, how ever far it came: a guest that ran before runs again. Harmless otherwise. */
  settle(): Promise<void>;
  /** Lets the guest run; returns since when, in Unix ms. Harmless when running; no effect on a finished one. */
  resume(): Promise<number>;
  /** Saves the rest of the CPU and device state, without memory, to where pauseForSwitchover() has begun. */
  saveState(): Promise<void>;
  /**
   * Gives a paused guest that state, which may still be arriving: in pieces of any length, to an end if it is whole. Its
   * regions hold the matching memory by the time that a piece comes. One that fails is of no use any more.
   */
  loadState(state: AsyncIterable<Uint8Array>): Promise<void>;
  /** Ends it and frees all that it holds. Harmless when repeated. */
  destroy(): Promise<void>;
}

/** A guest that a migration brings. Its memory can be filled at once, while its machine may still be starting. */
export interface IncomingGuest<Machine extends Guest = Guest> {
  readonly regions: readonly Region[];
  /**
   * The machine, paused. Rejects with why it could not be started: its memory is gone then, and what is still written to
   * it is lost.
   */
  readonly machine: Promise<Machine>;
}
