import { MigrationError } from '../../shared/errors.js';

/**
 * Puts a blob together from pieces that arrive in order. Memory is taken as it arrives, never on the word of the
 * peer; more than `limitBytes` is refused.
 */
export class BlobBuffer {
  readonly #name: string;
  readonly #limitBytes: number;
  #pieces: Uint8Array[] = [];
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
    this.#pieces.push(piece.slice());
    this.#received += piece.length;
  }

  /** The whole blob. Throws unexpected-message if it is not complete. */
  take(): Uint8Array {
    if (this.#total === null || this.#received < this.#total) {
      const text = `${this.#name} is not complete: ${this.#received} of ${this.#total ?? 'unknown'} bytes came`;
      throw new MigrationError('unexpected-message', text);
    }
    return Buffer.concat(this.#pieces);
  }
}
