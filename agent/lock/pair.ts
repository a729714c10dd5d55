/** A migration as the locks of its two nodes know it. */
export interface PairRequest {
  readonly migration: string;
  readonly vm: string;
  readonly from: string;
  readonly to: string;
  /** Unix time in ms at which it was asked for, by the source's clock. */
  readonly requestedAt: number;
}

/**
 * The order of arrival: negative if `a` comes before `b`. A total order, and the same on every node, because it
 * uses nothing that a node would see differently: two nodes that keep themselves for waiters by different orders
 * could each keep itself for a migration that waits for the other. Clocks of hosts that differ only move places.
 */
export function compareArrival(a: PairRequest, b: PairRequest): number {
  if (a.requestedAt !== b.requestedAt) return a.requestedAt - b.requestedAt;
  return a.migration < b.migration ? -1 : a.migration > b.migration ? 1 : 0;
}

/** The node whose lock is taken first and the other, whichever of them is the source. Compared by code units. */
export function lockOrder(pair: { readonly from: string; readonly to: string }): {
  lower: string;
  higher: string;
} {
  return pair.from < pair.to ? { lower: pair.from, higher: pair.to } : { lower: pair.to, higher: pair.from };
}
