/** Items that readers get from any index on: those there already, then later ones as they are added, until it ends. */
export class EventLog<Item, End> {
  readonly #items: Item[] = [];
  #end: { value: End } | { error: Error } | undefined;
  #wake: PromiseWithResolvers = withResolvers();
  /** Readers that have begun and not ended. */
  readers = 0;

  push(...items: Item[]): this {
    this.#items.push(...items);
    this.#changed();
    return this;
  }

  end(value: End): this {
    this.#end = { value };
    this.#changed();
    return this;
  }

  fail(error: Error): this {
    this.#end = { error };
    this.#changed();
    return this;
  }

  /** Everything from `index` on. With `limit`, it stops after so many items as if the connection had ended. */
  async *read(index: number, signal: AbortSignal, limit = Infinity): AsyncGenerator<Item, End | null> {
    this.readers += 1;
    this.#changed();
    const aborted = withResolvers();
    signal.addEventListener('abort', aborted.resolve, { once: true });
    try {
      for (let next = index; !signal.aborted && next - index < limit;) {
        const wake = this.#wake.promise;
        if (next < this.#items.length) {
          yield this.#items[next++] as Item;
        } else if (this.#end !== undefined) {
          if ('error' in this.#end) throw this.#end.error;
          return this.#end.value;
        } else {
          await Promise.race([wake, aborted.promise]);
        }
      }
      return null;
    } finally {
      this.readers -= 1;
      this.#changed();
    }
  }

  /** Resolves when `condition` holds, looked at after each change of the log or of its readers. */
  async until(condition: (log: this) => boolean): Promise<void> {
    while (!condition(this)) await this.#wake.promise;
  }

  #changed(): void {
    this.#wake.resolve();
    this.#wake = withResolvers();
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
