/**
 * Takes events one after the other, also where taking one causes the next: that one waits until the first is done. An
 * event that throws ends the run with what waits kept for the next push.
 */
export class InOrder<Event extends object> {
  readonly #take: (event: Event) => void;
  readonly #waiting: Event[] = [];
  #taking = false;

  constructor(take: (event: Event) => void) {
    this.#take = take;
  }

  push(event: Event): void {
    this.#waiting.push(event);
    if (this.#taking) return;
    this.#taking = true;
    try {
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) this.#take(next);
    } finally {
      this.#taking = false;
    }
  }
}
