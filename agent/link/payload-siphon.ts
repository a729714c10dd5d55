import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { MAX_PAGES_PAYLOAD } from './link-paths.js';
import { readIntoOneBuffer } from './read-buffer.js';

/** RFC 6455, 5.2: two bytes, up to eight of length, four of mask. */
const MAX_HEADER_BYTES = 14;

const OPCODE_CONTINUATION = 0x0;
const OPCODE_BINARY = 0x2;

/** A WebSocket frame whose payload is being read. */
interface Frame {
  /** Bytes to come. */
  left: number;
  siphoned: boolean;
  /** Null where it is zero. */
  mask: Buffer | null;
  /** Bytes unmasked so far. */
  offset: number;
}

/**
 * Stands between a TCP socket and the WebSocket library on the receiving end of a page connection. The payload of binary
 * messages goes straight from the chunks that were read to a listener; all else (pings, closes, and whatever breaks the
 * protocol) goes on to the library, which answers it. The library itself would first gather each message in fresh
 * memory: one more copy of every page, and the garbage that comes with it.
 */
export class PayloadSiphon extends Duplex {
  /** What it stands on. */
  readonly tcp: Socket;
  readonly #header = Buffer.alloc(MAX_HEADER_BYTES);
  #headerBytes = 0;
  /** Null: a header is next. */
  #frame: Frame | null = null;
  /** A binary message has begun and its last frame has not come. */
  #fragmented = false;
  #onPayload: (payload: Uint8Array) => void = () => undefined;

  /** Takes over what `accepted` reads and writes; `tcp` is to be used instead of it. */
  constructor(accepted: Socket) {
    super({ allowHalfOpen: true });
    this.tcp = readIntoOneBuffer(accepted, (chunk) => this.feed(chunk));
    this.tcp.setTimeout(0);
    this.tcp.setNoDelay();
    this.tcp.on('end', () => this.push(null));
    this.tcp.on('error', (error) => this.destroy(error));
    this.tcp.on('close', () => this.destroy());
    this.tcp.resume();
  }

  /** Sets the one receiver of payload. Pieces have any length and are valid during the call only. */
  onPayload(listener: (payload: Uint8Array) => void): void {
    this.#onPayload = listener;
  }

  setReadPaused(paused: boolean): void {
    if (paused) this.tcp.pause();
    else this.tcp.resume();
  }

  /** Takes bytes as if they had been read; for those that came together with the upgrade request. */
  feed(chunk: Buffer): void {
    let position = 0;
    while (position < chunk.length) {
      if (this.#frame) {
        const taken = Math.min(this.#frame.left, chunk.length - position);
        this.#pass(this.#frame, chunk.subarray(position, position + taken));
        position += taken;
      } else {
        this.#header[this.#headerBytes++] = chunk[position++] ?? 0;
        this.#begin();
      }
    }
  }

  /** Starts on the payload if the header is complete. */
  #begin(): void {
    const header = this.#header.subarray(0, this.#headerBytes);
    const [first, second] = header;
    if (first === undefined || second === undefined) return;
    const lengthBytes = (second & 0x7f) === 127 ? 8 : (second & 0x7f) === 126 ? 2 : 0;
    const masked = second >= 0x80;
    if (header.length < 2 + lengthBytes + (masked ? 4 : 0)) return;
    this.#headerBytes = 0;
    const length =
      lengthBytes === 8
        ? header.readUInt32BE(2) * 2 ** 32 + header.readUInt32BE(6)
        : lengthBytes === 2
          ? header.readUInt16BE(2)
          : second & 0x7f;
    const final = first >= 0x80;
    const opcode = first & 0x0f;
    const isData = opcode === (this.#fragmented ? OPCODE_CONTINUATION : OPCODE_BINARY);
    // reserved bits, a missing mask and too much payload are for the library to refuse
    const siphoned = isData && (first & 0x70) === 0 && masked && length <= MAX_PAGES_PAYLOAD;
    if (siphoned) this.#fragmented = !final;
    else this.push(Buffer.from(header));
    const key = siphoned ? header.subarray(header.length - 4) : null;
    const mask = key !== null && key.some((byte) => byte !== 0) ? Buffer.from(key) : null;
    if (length > 0) this.#frame = { left: length, siphoned, mask, offset: 0 };
  }

  #pass(frame: Frame, payload: Buffer): void {
    frame.left -= payload.length;
    if (frame.left === 0) this.#frame = null;
    if (!frame.siphoned) {
      this.push(Buffer.from(payload));
      return;
    }
    if (frame.mask) {
      for (let i = 0; i < payload.length; i += 1) {
        payload[i] = (payload[i] ?? 0) ^ (frame.mask[(frame.offset + i) & 3] ?? 0);
      }
      frame.offset += payload.length;
    }
    this.#onPayload(payload);
  }

  override _read(): void {
    // what is not siphoned is little; it is pushed as it comes
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.tcp.write(chunk, callback);
  }

  override _final(callback: () => void): void {
    this.tcp.end(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.tcp.destroy();
    callback(error);
  }
}
