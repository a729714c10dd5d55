import { MigrationError } from '../../shared/errors.js';
import { MAX_BLOB_BYTES } from '../../shared/protocol/frame.js';
import { RunningHash } from '../guest/page-hash.js';
import type { PageSending } from './page-sending.js';

/** Sends the CPU and device state of a guest while the guest hands it out: piece by piece, in order, beside pages. */
export class StateSending {
  readonly #pages: Pick<PageSending, 'blob'>;
  readonly #hash = new RunningHash();
  #bytes = 0;
  #sent: Promise<void> = Promise.resolve();

  constructor(pages: Pick<PageSending, 'blob'>) {
    this.#pages = pages;
  }

  /** Bytes that were taken so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the next piece, which nobody changes any more. */
  take(piece: Uint8Array): void {
    const offset = this.#bytes;
    this.#bytes += piece.length;
    this.#hash.update(piece);
    this.#sent = this.#sent.then(() => {
      if (offset + piece.length <= MAX_BLOB_BYTES) return this.#pages.blob('device-state', offset, piece);
      const text = `the state of the guest's devices has more than ${MAX_BLOB_BYTES} bytes, the most that is sent`;
      throw new MigrationError('guest-failed', text);
    });
    // What fails is told by sent().
    this.#sent.catch(() => undefined);
  }

  /** Resolves once all that was taken is on its way, with the digest of it. Throws what the sending threw. */
  async sent(): Promise<string> {
    await this.#sent;
    return this.#hash.digest();
  }
}
