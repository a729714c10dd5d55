/**
 * How a guest writes: one or more working sets, each written at a rate of its own (the writable working sets of Clark et al., Live
 * migration of virtual machines, NSDI 2005). What a round has to send again is not what was written but the pages that were: a page
 * that is written twice is sent once.
 */
export interface WorkingSet {
  readonly bytes: number;
  /** Pages written, those written again included. bytes/ms */
  readonly bytesPerMs: number;
  /** In turn: no page again before all the others; random: whichever, each as likely. */
  readonly order: 'in-turn' | 'random';
}

/**
 * Bytes of the pages that were written in so many ms, once each. Random writes are the classical occupancy problem (Feller, An
 * Introduction to Probability Theory and Its Applications, volume 1, IV.2): of n pages n(1 - (1 - 1/n)^w) are expected to
 * be hit by w writes, which for many pages is n(1 - exp(-w / n)).
 */
export function writtenBytes(sets: readonly WorkingSet[], ms: number): number {
  let bytes = 0;
  for (const set of sets) {
    const writes = set.bytesPerMs * ms;
    bytes +=
      set.order === 'in-turn' ? Math.min(writes, set.bytes) : set.bytes * -Math.expm1(-writes / set.bytes);
  }
  return bytes;
}

/** All sets together. bytes/ms */
export function writeRate(sets: readonly WorkingSet[]): number {
  return sets.reduce((sum, { bytesPerMs }) => sum + bytesPerMs, 0);
}
