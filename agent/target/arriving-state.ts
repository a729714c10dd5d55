import { MigrationError } from '../../shared/errors.js';
import { MAX_BLOB_BYTES } from '../../shared/protocol/frame.js';
import { RunningHash } from '../guest/page-hash.js';
import { BlobBuffer } from './blob-buffer.js';

/**
 * The CPU and device state of an incoming guest, as the guest is given it while it arrives. What came is given out once the
 * round in which it came is over: to load a device can mean to look at memory, and memory that was sent with it is there by
 * then, on whichever stream it came. That it is the source's state is known only at its end.
 */
export class ArrivingState implements AsyncIterable<Uint8Array> {
  readonly #buffer = new BlobBuffer('the device state', MAX_BLOB_BYTES);
  readonly #hash = new RunningHash();
  /** Where in it rounds ended that are not over yet. */
  readonly #roundEnds: number[] = [];
  /** Bytes that may be given out, and those that were. */
  #released = 0;
  #taken = 0;
  #end: 'open' | 'whole' | MigrationError = 'open';
  #wake: () => void = () => undefined;

  /** Takes the next bytes, which are copied. Throws bad-frame, limit-exceeded. */
  add(offset: number, piece: Uint8Array): void {
    this.#buffer.add(offset, piece);
    this.#hash.update(piece);
  }

  /** The stream that it comes on has ended a round. */
  endRound(): void {
    this.#roundEnds.push(this.#buffer.bytes.length);
  }

  /** The next round is over: gives out what came in it. Tells whether anything was given out so far. */
  release(): boolean {
    this.#releaseTo(this.#roundEnds.shift() ?? this.#released);
    return this.#released > 0;
  }

  /**
   * All of it has come. Throws load-failed if it is not what the source has sent, unexpected-message if nothing has come;
   * nobody is given an end then.
   */
  complete(digest: string): void {
    if (this.#buffer.bytes.length === 0) {
      throw new MigrationError('unexpected-message', 'the device state has not come');
    }
    const own = this.#hash.digest();
    if (own !== digest) {
      const text =
        `the device state of ${this.#buffer.bytes.length} bytes arrived damaged or in part: its digest is ${own}, ` +
        `the source's is ${digest}`;
      throw new MigrationError('load-failed', text);
    }
    this.#end = 'whole';
    this.#releaseTo(this.#buffer.bytes.length);
  }

  /** No more of it will come. Whoever waits for it is told why. Harmless when it is complete. */
  fail(error: MigrationError): void {
    if (this.#end === 'open') this.#end = error;
    this.#wake();
  }

  #releaseTo(bytes: number): void {
    this.#released = bytes;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      if (this.#taken < this.#released) {
        const piece = this.#buffer.bytes.subarray(this.#taken, this.#released);
        this.#taken = this.#released;
        yield piece;
      } else if (this.#end === 'open') {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      } else if (this.#end === 'whole') {
        return;
      } else {
        throw this.#end;
      }
    }
  }
}
