/** Times that a waiter may be overtaken at one node before the node is kept for it: bounds how unfair a full node is. */
export const OVERTAKE_LIMIT = 8;

/** Time a remote coordinator has to come back before its entries are released. ms; bounds how long a dead one blocks. */
export const LEASE_GRACE_MS = 15_000;
