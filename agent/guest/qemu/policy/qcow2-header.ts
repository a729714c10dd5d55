import { open } from 'node:fs/promises';

/** What a qcow2 image has QEMU open beside itself. Layout: docs/interop/qcow2.txt of QEMU. */
export interface Qcow2Header {
  /** As it is written there: a path, or anything else that QEMU can open. Null if there is none. */
  readonly backingFile: string | null;
  /** How that is read; null: QEMU guesses. */
  readonly backingFormat: string | null;
  /** Whether the data is in another file. */
  readonly externalData: boolean;
}

const MAGIC = 0x514649fb;
/** The header and its extensions lie in the first cluster, of which the largest is this. bytes */
const MAX_CLUSTER_BYTES = 2 ** 21;
/** bytes */
const V2_HEADER = 72;
const INCOMPATIBLE_EXTERNAL_DATA = 1n << 2n;
const BACKING_FORMAT = 0xe2792aca;
const DATA_FILE = 0x44415441;
/** Longest name of a backing file that QEMU takes. bytes */
const MAX_NAME = 1023;

/** Null for a file that is no qcow2 image. Throws for one that is damaged, and what node:fs throws. */
export async function readQcow2Header(path: string): Promise<Qcow2Header | null> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_CLUSTER_BYTES), 0, MAX_CLUSTER_BYTES, 0);
    return parseQcow2Header(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** The same of the first bytes of an image. Throws RangeError for one that is damaged. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header | null {
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== MAGIC) return null;
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new RangeError(`its version ${version} is not known`);
  const offset = Number(bytes.readBigUInt64BE(8));
  const length = bytes.readUInt32BE(16);
  const incompatible = version === 3 ? bytes.readBigUInt64BE(72) : 0n;
  const extensions = readExtensions(bytes, version === 3 ? bytes.readUInt32BE(100) : V2_HEADER);
  if (offset !== 0 && (length > MAX_NAME || offset + length > bytes.length)) {
    throw new RangeError('the name of its backing file is not where it should be');
  }
  return {
    backingFile: offset === 0 || length === 0 ? null : bytes.toString('utf8', offset, offset + length),
    backingFormat: extensions.get(BACKING_FORMAT)?.toString('latin1') ?? null,
    externalData: (incompatible & INCOMPATIBLE_EXTERNAL_DATA) !== 0n || extensions.has(DATA_FILE),
  };
}

function readExtensions(bytes: Buffer, start: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = start; at + 8 <= bytes.length;) {
    const type = bytes.readUInt32BE(at);
    const length = bytes.readUInt32BE(at + 4);
    if (type === 0) break;
    if (at + 8 + length > bytes.length) throw new RangeError('an extension of its header is longer than it');
    // The last of a kind counts.
    found.set(type, bytes.subarray(at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}
