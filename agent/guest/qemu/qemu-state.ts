import { z } from 'zod';
import { MigrationError } from '../../../shared/errors.js';
import { validate } from '../../../shared/validate.js';
import type { StateSink } from '../guest.js';

/** Bytes of the console's end that move with a guest, so that what was printed last can be read on the target. */
export const CONSOLE_TAIL_BYTES = 64 * 1024;

/** What a QEMU guest is beside its memory and QEMU's own migration stream. */
export interface QemuCondition {
  /** What it was before it was paused for the switchover. */
  readonly condition: 'running' | 'paused' | 'finished';
  /** Bytes that it had printed in all. */
  readonly consoleEnd: number;
  /** The last of them, at most CONSOLE_TAIL_BYTES. */
  readonly consoleTail: Uint8Array;
}

/** A part of the state, in its order: bytes of QEMU's migration stream (CPUs, devices, memory that is no RAM), or the rest. */
export type QemuStatePart =
  { readonly type: 'stream'; readonly bytes: Uint8Array } | ({ readonly type: 'condition' } & QemuCondition);

/*
 * Layout, integers big-endian:
 *   0  4  magic 'VMQS'
 *   4  4  version, 1
 *   8     sections: their kind (4 bytes), their length (4 bytes), their content
 *
 *   kind 1  bytes of QEMU's stream; any number of sections
 *        2  description (JSON), once
 *        3  console tail, once, right after the description
 *
 * QEMU's stream is handed out as it is written, most of it before the guest stands still, so it comes first; its last
 * section comes last, so that a QEMU that loads it can be told before what the description says.
 */
const MAGIC = 0x564d5153;
const VERSION = 1;
const HEADER_BYTES = 8;
const STREAM = 1;
const DESCRIPTION = 2;
const CONSOLE_TAIL = 3;
/** Far above what the description takes; bounds what a peer makes us parse. */
const MAX_DESCRIPTION_BYTES = 1024;

const DescriptionSchema = z.strictObject({
  condition: z.enum(['running', 'paused', 'finished']),
  consoleEnd: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});

/** Encodes a state while its stream is still being written. */
export class QemuStateEncoder {
  readonly #sink: StateSink;
  /** Bytes of the stream that are not handed out yet: they may be the last. */
  #held: Uint8Array | null = null;

  constructor(sink: StateSink) {
    this.#sink = sink;
    this.#sink(words(MAGIC, VERSION));
  }

  /** The next bytes of QEMU's stream. */
  stream(bytes: Uint8Array): void {
    this.flush();
    this.#held = bytes;
  }

  /** Hands out what it has of the stream, of which more is sure to come. */
  flush(): void {
    if (this.#held) this.#section(STREAM, this.#held);
    this.#held = null;
  }

  /** The stream has ended. */
  end({ consoleTail, ...description }: QemuCondition): void {
    this.#section(DESCRIPTION, Buffer.from(JSON.stringify(description)));
    this.#section(CONSOLE_TAIL, consoleTail);
    this.flush();
  }

  #section(kind: number, content: Uint8Array): void {
    this.#sink(Buffer.concat([words(kind, content.length), content]));
  }
}

/**
 * Decodes a state as it arrives, in pieces of any length. Bytes are views of the pieces. Throws load-failed, naming what is
 * wrong.
 */
export async function* decodeQemuState(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<QemuStatePart, void> {
  let bytes: Buffer = Buffer.alloc(0);
  let section: { kind: number; left: number } | null = null;
  let begun = false;
  let description: z.output<typeof DescriptionSchema> | null = null;
  let complete = false;
  const take = (count: number): Buffer => {
    const taken = bytes.subarray(0, count);
    bytes = bytes.subarray(count);
    return taken;
  };
  for await (const piece of pieces) {
    bytes = bytes.length > 0 ? Buffer.concat([bytes, piece]) : viewOf(piece);
    if (!begun) {
      if (bytes.length < HEADER_BYTES) continue;
      checkHeader(take(HEADER_BYTES));
      begun = true;
    }
    for (;;) {
      if (section === null) {
        if (bytes.length < HEADER_BYTES) break;
        section = sectionOf(take(HEADER_BYTES), description !== null, complete);
      }
      const { kind, left }: { kind: number; left: number } = section;
      if (kind === STREAM) {
        if (left > 0 && bytes.length === 0) break;
        const part = take(Math.min(left, bytes.length));
        section = part.length < left ? { kind, left: left - part.length } : null;
        if (part.length > 0) yield { type: 'stream', bytes: part };
        continue;
      }
      if (bytes.length < left) break;
      section = null;
      if (kind === DESCRIPTION) {
        description = parseDescription(take(left));
        continue;
      }
      complete = true;
      if (description!.consoleEnd < left) {
        throw damaged(`its console ends at ${description!.consoleEnd}, before the ${left} bytes of its tail`);
      }
      yield { type: 'condition', ...description!, consoleTail: take(left) };
    }
  }
  if (!complete || section !== null || bytes.length > 0) throw damaged('it breaks off');
}

/** A section as its header announces it. */
function sectionOf(header: Buffer, described: boolean, complete: boolean): { kind: number; left: number } {
  const kind = header.readUInt32BE(0);
  const left = header.readUInt32BE(4);
  const expected = described && !complete ? [CONSOLE_TAIL] : complete ? [STREAM] : [STREAM, DESCRIPTION];
  if (!expected.includes(kind))
    throw damaged(`it has a section of kind ${kind} where ${expected.join(' or ')} belongs`);
  if (kind === DESCRIPTION && left > MAX_DESCRIPTION_BYTES)
    throw damaged(`its description has ${left} bytes`);
  if (kind === CONSOLE_TAIL && left > CONSOLE_TAIL_BYTES) throw damaged(`its console tail has ${left} bytes`);
  return { kind, left };
}

function checkHeader(header: Buffer): void {
  if (header.readUInt32BE(0) !== MAGIC) throw damaged('it does not begin as one');
  const version = header.readUInt32BE(4);
  if (version !== VERSION) throw damaged(`its version is ${version}, the one known here is ${VERSION}`);
}

function parseDescription(json: Buffer): z.output<typeof DescriptionSchema> {
  let value: unknown;
  try {
    value = JSON.parse(json.toString('utf8'));
  } catch (error) {
    throw damaged(`its description is no JSON: ${(error as Error).message}`);
  }
  return validate(DescriptionSchema, value, 'load-failed', 'the description in the state of a QEMU guest');
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(reason: string): MigrationError {
  return new MigrationError('load-failed', `the state is not that of a QEMU guest: ${reason}`);
}
