import { MigrationError } from '../../shared/errors.js';

/**
 * How far one stream may be ahead of another. A source waits for the acknowledgement of a round before it goes on, but for
 * the last two, which it sends one behind the other; bounds what a peer can make this side remember. rounds
 */
const MAX_ROUNDS_AHEAD = 2;

/** Which rounds are over: those that all streams have ended. */
export class RoundBarrier {
  /** Rounds that each stream has ended. */
  readonly #ended: number[];
  #over = 0;

  constructor(streams: number) {
    this.#ended = Array.from({ length: streams }, () => 0);
  }

  /** Rounds that are over; they are numbered from 0 on. */
  get over(): number {
    return this.#over;
  }

  /** A stream has ended a round. Tells whether that is over with it. Throws unexpected-message where it is not its turn. */
  end(stream: number, round: number): boolean {
    if (round !== this.#ended[stream] || round >= this.#over + MAX_ROUNDS_AHEAD) {
      throw new MigrationError('unexpected-message', `stream ${stream} ended round ${round} out of order`);
    }
    this.#ended[stream] = round + 1;
    if (this.#ended.some((ended) => ended <= this.#over)) return false;
    this.#over += 1;
    return true;
  }
}
