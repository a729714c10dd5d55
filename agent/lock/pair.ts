/** A migration as the locks of its two nodes know it. */
export interface PairRequest {
  readonly migration: string;
  readonly vm: string;
  readonly from: string;
  readonly to: string;
  /** Unix time in ms at which it was asked for, by the source's clock. */
  readonly requestedAt: number;
  /** Steps of PRIORITY_STEP_MS by which it goes before others of that time, or, below zero, after them. 0 if not given. */
  readonly priority?: number;
}

/**
 * A step of priority is a head start, no class of its own: who waits long enough has its turn, and where all wait in one order
 * nothing else of the lock has to know of priorities. ms
 */
export const PRIORITY_STEP_MS = 3_600_000;

/**
 * The order of arrival, priorities counted in: negative if `a` comes before `b`. A total order, and the same on every node, because it
 * uses nothing that a node would see differently: two nodes that keep themselves for waiters by different orders
 * could each keep itself for a migration that waits for the other. Clocks of hosts that differ only move places.
 */
export function compareArrival(a: PairRequest, b: PairRequest): number {
  if (placeOf(a) !== placeOf(b)) return placeOf(a) - placeOf(b);
  return a.migration < b.migration ? -1 : a.migration > b.migration ? 1 : 0;
}

function placeOf({ requestedAt, priority = 0 }: PairRequest): number {
  return requestedAt - priority * PRIORITY_STEP_MS;
}

/** The node whose lock is taken first and the other, whichever of them is the source. Compared by code units. */
export function lockOrder(pair: { readonly from: string; readonly to: string }): {
  lower: string;
  higher: string;
} {
  return pair.from < pair.to ? { lower: pair.from, higher: pair.to } : { lower: pair.to, higher: pair.from };
}
