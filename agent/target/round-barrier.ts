import { MigrationError } from '../../shared/errors.js';

/** Tells when a round has ended on all streams: rounds count from 0, and each stream ends each of them once. */
export class RoundBarrier {
  readonly #streams: number;
  #round = 0;
  #ended = new Set<number>();

  constructor(streams: number) {
    this.#streams = streams;
  }

  /** A stream has ended `round`; returns whether all have. Throws unexpected-message for one out of order. */
  ended(stream: number, round: number): boolean {
    if (round !== this.#round || this.#ended.has(stream)) {
      throw new MigrationError('unexpected-message', `stream ${stream} ended round ${round} out of order`);
    }
    this.#ended.add(stream);
    if (this.#ended.size < this.#streams) return false;
    this.#round += 1;
    this.#ended = new Set();
    return true;
  }
}
