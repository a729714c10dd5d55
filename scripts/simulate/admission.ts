/** A migration as its admission knows it. */
export interface Requested {
  /** Place in the order of arrival, unique. */
  readonly number: number;
  /** Nodes by their numbers. */
  readonly from: number;
  readonly to: number;
}

/** Decides which of the migrations that were asked for may run now. */
export interface Admission {
  request(migration: Requested): void;
  /** It has ended, and leaves its nodes to others. */
  release(migration: Requested): void;
}
