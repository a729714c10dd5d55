/** Bytes of output that a guest's console keeps: what a client that comes late can still read. */
export const CONSOLE_TAIL_BYTES = 64 * 1024;

/**
 * The last 64 KiB of what a guest printed, and how much it printed in all: a position in the transcript is the
 * number of bytes before it since the guest booted, wherever it ran.
 */
export class ConsoleTail {
  readonly #ring = new Uint8Array(CONSOLE_TAIL_BYTES);
  #end = 0;
  #kept = 0;

  /** Position of the oldest byte that is kept. */
  get start(): number {
    return this.#end - this.#kept;
  }

  /** Position after the last byte: all that was ever printed. */
  get end(): number {
    return this.#end;
  }

  push(byte: number): void {
    this.#ring[this.#end % CONSOLE_TAIL_BYTES] = byte;
    this.#end += 1;
    if (this.#kept < CONSOLE_TAIL_BYTES) this.#kept += 1;
  }

  append(data: Uint8Array): void {
    for (const byte of data) this.push(byte);
  }

  /** A copy of what is kept from `position` on; from the start if that is gone. */
  read(position: number): Uint8Array {
    const from = Math.min(Math.max(position, this.start), this.#end);
    const copy = new Uint8Array(this.#end - from);
    for (let index = 0; index < copy.length; index += 1) {
      copy[index] = this.#ring[(from + index) % CONSOLE_TAIL_BYTES]!;
    }
    return copy;
  }

  /** Becomes a tail that ends at `end` with these bytes, the last 64 KiB of them. */
  load(end: number, tail: Uint8Array): void {
    this.#end = end - tail.length;
    this.#kept = 0;
    this.append(tail);
  }
}
