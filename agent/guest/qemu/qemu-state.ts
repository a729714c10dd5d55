import { z } from 'zod';
import { MigrationError } from '../../../shared/errors.js';
import { validate } from '../../../shared/validate.js';

/** Bytes of the console's end that move with a guest, so that what was printed last can be read on the target. */
export const CONSOLE_TAIL_BYTES = 64 * 1024;

/** What a QEMU guest is beside its memory. */
export interface QemuState {
  /** What it was before it was paused for the switchover. */
  readonly condition: 'running' | 'paused' | 'finished';
  /** Bytes that it had printed in all. */
  readonly consoleEnd: number;
  /** The last of them, at most CONSOLE_TAIL_BYTES. */
  readonly consoleTail: Uint8Array;
  /** QEMU's own migration stream: CPUs, devices, and memory that is no RAM. */
  readonly stream: Uint8Array;
}

/*
 * Layout, integers big-endian:
 *   0  4  magic 'VMQS'
 *   4  4  version, 1
 *   8  4  bytes of the description
 *  12  4  bytes of the console tail
 *  16  4  bytes of the stream
 *  20     description (JSON), console tail, stream
 */
const MAGIC = 0x564d5153;
const VERSION = 1;
const HEADER_BYTES = 20;
/** Far above what the description takes; bounds what a peer makes us parse. */
const MAX_DESCRIPTION_BYTES = 1024;

const DescriptionSchema = z.strictObject({
  condition: z.enum(['running', 'paused', 'finished']),
  consoleEnd: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});

export function encodeQemuState({ consoleTail, stream, ...description }: QemuState): Buffer {
  const json = Buffer.from(JSON.stringify(description));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeUInt32BE(json.length, 8);
  header.writeUInt32BE(consoleTail.length, 12);
  header.writeUInt32BE(stream.length, 16);
  return Buffer.concat([header, json, consoleTail, stream]);
}

/** The parts are views of `bytes`. Throws load-failed, naming what is wrong. */
export function decodeQemuState(bytes: Uint8Array): QemuState {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < HEADER_BYTES) throw damaged(`it has ${buffer.length} bytes, less than its header`);
  if (buffer.readUInt32BE(0) !== MAGIC) throw damaged('it does not begin as one');
  const version = buffer.readUInt32BE(4);
  if (version !== VERSION) throw damaged(`its version is ${version}, the one known here is ${VERSION}`);
  const jsonBytes = buffer.readUInt32BE(8);
  const tailBytes = buffer.readUInt32BE(12);
  const streamBytes = buffer.readUInt32BE(16);
  if (jsonBytes > MAX_DESCRIPTION_BYTES) throw damaged(`its description has ${jsonBytes} bytes`);
  if (tailBytes > CONSOLE_TAIL_BYTES) throw damaged(`its console tail has ${tailBytes} bytes`);
  const total = HEADER_BYTES + jsonBytes + tailBytes + streamBytes;
  if (total !== buffer.length) throw damaged(`it has ${buffer.length} bytes and its parts take ${total}`);

  const tailAt = HEADER_BYTES + jsonBytes;
  const streamAt = tailAt + tailBytes;
  const description = validate(
    DescriptionSchema,
    parse(buffer.subarray(HEADER_BYTES, tailAt)),
    'load-failed',
    'the description in the state of a QEMU guest',
  );
  if (description.consoleEnd < tailBytes) {
    throw damaged(`its console ends at ${description.consoleEnd}, before the ${tailBytes} bytes of its tail`);
  }
  return {
    ...description,
    consoleTail: buffer.subarray(tailAt, streamAt),
    stream: buffer.subarray(streamAt),
  };
}

function parse(json: Buffer): unknown {
  try {
    return JSON.parse(json.toString('utf8'));
  } catch (error) {
    throw damaged(`its description is no JSON: ${(error as Error).message}`);
  }
}

function damaged(reason: string): MigrationError {
  return new MigrationError('load-failed', `the state is not that of a QEMU guest: ${reason}`);
}
