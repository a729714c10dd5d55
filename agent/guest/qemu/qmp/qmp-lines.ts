import { QmpConnectionError } from './qmp-errors.js';

/**
 * Bytes of one line from QEMU; bounds what a process that is no QEMU can make the agent hold. The largest answer of
 * QEMU 7.2, query-qmp-schema, has 0.2 MiB.
 */
export const MAX_LINE_BYTES = 8 * 2 ** 20;

const LINE_FEED = 0x0a;

/** Cuts a stream of bytes into lines. QEMU ends them with CR LF; JSON does not mind the CR. */
export class QmpLines {
  #rest: Uint8Array[] = [];
  #restBytes = 0;

  /**
   * The lines that `chunk` completes, blank ones left out, each one parsed by the caller before the next is cut.
   * Throws QmpConnectionError 'protocol' for a line above MAX_LINE_BYTES.
   */
  *push(chunk: Uint8Array): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      this.#keep(chunk.subarray(start, end));
      start = end + 1;
      // Decoded as a whole: a chunk may end within a character.
      const line = Buffer.concat(this.#rest).toString('utf8').trim();
      this.#rest = [];
      this.#restBytes = 0;
      if (line !== '') yield line;
    }
    this.#keep(chunk.subarray(start));
  }

  #keep(bytes: Uint8Array): void {
    this.#restBytes += bytes.length;
    if (this.#restBytes > MAX_LINE_BYTES) {
      throw new QmpConnectionError('protocol', `a line has more than ${MAX_LINE_BYTES} bytes`);
    }
    if (bytes.length > 0) this.#rest.push(bytes);
  }
}
