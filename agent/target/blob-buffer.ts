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
  #total: number | null = null;

  constructor(name: string, limitBytes: number) {
    this.#name = name;
    this.#limitBytes = limitBytes;
  }

  /** Throws bad-frame for a piece that does not follow, limit-exceeded for too much. */
  add(totalBytes: number, offset: number, piece: Uint8Array): void {
    if (totalBytes > this.#limitBytes) {
      const text = `${this.#name} of ${totalBytes} bytes is larger than the limit of ${this.#limitBytes}`;
      throw new MigrationError('limit-exceeded', text);
    }
    const total = (this.#total ??= totalBytes);
    if (total !== totalBytes || offset !== this.#received || offset + piece.length > total) {
      const text = `${piece.length} bytes of ${this.#name} at ${offset} of ${totalBytes} do not follow ${this.#received} of ${total}`;
      throw new MigrationError('bad-frame', text);
    }
    this.#reserve(this.#received + piece.length, total);
    this.#bytes.set(piece, this.#received);
    this.#received += piece.length;
  }

  #reserve(bytes: number, total: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.min(total, Math.max(bytes, 2 * this.#bytes.length, FIRST_BYTES)));
    larger.set(this.#bytes.subarray(0, this.#received));
    this.#bytes = larger;
  }

  /** The whole blob, which is not to be changed. Throws unexpected-message if it is not complete. */
  take(): Uint8Array {
    if (this.#total === null || this.#received < this.#total) {
      const text = `${this.#name} is not complete: ${this.#received} of ${this.#total ?? 'unknown'} bytes came`;
      throw new MigrationError('unexpected-message', text);
    }
    return this.#bytes;
  }
}
