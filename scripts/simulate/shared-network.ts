import type { EventQueue } from './event-queue.js';
import { FairShares, type Flow } from './fair-shares.js';

/** Streams between nodes, each as fast as its fair share lets it be, while others come and go. */
export class SharedNetwork {
  readonly #queue: EventQueue;
  readonly #shares: FairShares<Stream>;

  /** `capacities`: of each node's card, in each direction. bytes/ms */
  constructor(queue: EventQueue, capacities: readonly number[]) {
    this.#queue = queue;
    this.#shares = new FairShares(capacities);
  }

  /** `limit`: the most that it may send. bytes/ms */
  open(from: number, to: number, limit: number): Stream {
    const stream: Stream = new Stream(this.#queue, (flow) => this.#shares.remove(flow));
    stream.flow = this.#shares.add(from, to, limit, stream);
    return stream;
  }

  /** To be called when a moment is over: those that came and went have their effect. */
  settle(): void {
    for (const stream of this.#shares.settle()) stream.rateChanged();
  }
}

export class Stream {
  /** Set by the network that opens it. */
  flow: Flow | null = null;
  readonly #queue: EventQueue;
  readonly #remove: (flow: Flow) => void;
  #leftBytes = 0;
  /** Since when, and how fast, what is left has been sent. */
  #since = 0;
  #rate = 0;
  #until = Infinity;
  #done: ((leftBytes: number) => void) | null = null;
  #callOff: () => void = () => undefined;

  constructor(queue: EventQueue, remove: (flow: Flow) => void) {
    this.#queue = queue;
    this.#remove = remove;
  }

  /** `done` is told what is left once all is sent or, if this comes first, at the moment `until`. One at a time. */
  send(bytes: number, until: number, done: (leftBytes: number) => void): void {
    this.#leftBytes = bytes;
    this.#since = this.#queue.now;
    this.#until = until;
    this.#done = done;
    this.#schedule();
  }

  rateChanged(): void {
    if (this.#done) {
      this.#leftBytes = this.#left();
      this.#since = this.#queue.now;
      this.#callOff();
      this.#schedule();
    }
  }

  close(): void {
    this.#callOff();
    if (this.flow) this.#remove(this.flow);
    this.flow = null;
  }

  #left(): number {
    return Math.max(0, this.#leftBytes - this.#rate * (this.#queue.now - this.#since));
  }

  #schedule(): void {
    this.#rate = this.flow?.rate ?? 0;
    const ms = this.#leftBytes === 0 ? 0 : this.#leftBytes / this.#rate;
    const sentAt = this.#since + ms;
    const at = Math.min(sentAt, Math.max(this.#until, this.#since));
    // Without a share yet: it is scheduled once it has one.
    if (at === Infinity) return;
    this.#callOff = this.#queue.at(at, () => {
      const done = this.#done;
      const left = sentAt <= this.#until ? 0 : this.#left();
      this.#done = null;
      done?.(left);
    });
  }
}
