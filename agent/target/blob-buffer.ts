import { MigrationError } from '../../shared/errors.js';

/** What the first piece makes this side allocate at least. bytes */
const FIRST_BYTES = 4096;

/**
 * Puts a blob together from pieces that arrive in order. Memory is taken as it arrives, never on the word of the
 * peer: at most twice of what came, however small the pieces are; more than `limitBytes` is refused.
 */
export class BlobBuffer {
  readonly #name: string;
  readonly #limitBytes: number;
  #bytes = new Uint8Array(0);
  #received = 0;

  constructor(name: string, limitBytes: number) {
    this.#name = name;
    this.#limitBytes = limitBytes;
  }

  /** What came so far, which is not to be changed: what comes later leaves it as it is. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#received);
  }

  /** As much as the limit allows is there. */
  get complete(): boolean {
    return this.#received === this.#limitBytes;
  }

  /** Throws bad-frame for a piece that does not follow, limit-exceeded for too much. */
  add(offset: number, piece: Uint8Array): void {
    if (offset !== this.#received) {
      const text = `${piece.length} bytes of ${this.#name} at ${offset} do not follow the ${this.#received} that came`;
      throw new MigrationError('bad-frame', text);
    }
    const end = offset + piece.length;
    if (end > this.#limitBytes) {
      const text = `${this.#name} of ${end} bytes or more is larger than the limit of ${this.#limitBytes}`;
      throw new MigrationError('limit-exceeded', text);
    }
    this.#reserve(end);
    this.#bytes.set(piece, offset);
    this.#received = end;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(
      Math.min(this.#limitBytes, Math.max(bytes, 2 * this.#bytes.length, FIRST_BYTES)),
    );
    larger.set(this.#bytes.subarray(0, this.#received));
    this.#bytes = larger;
  }
}
