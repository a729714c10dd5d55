/**
 * Bounds on the shape of an encoded control message. Looking at the bytes before the decoder does is what keeps a
 * hostile message from costing anything: msgpack-lite recurses, builds objects whose prototype is replaced by a key
 * named __proto__, ignores trailing bytes and turns extension types into regular expressions and dates.
 */

/** Maps and arrays within each other: bounds recursion. The deepest valid message uses 3. */
export const MAX_DEPTH = 8;

/** Values in one message, keys included: bounds the objects that 64 KiB of one-byte values would become. */
export const MAX_VALUES = 4096;

/** `size`: bytes of a scalar or text, items of an array, pairs of a map. */
interface Token {
  is: 'scalar' | 'text' | 'map' | 'array';
  size: number;
  /** Where the bytes or the first item begin. */
  next: number;
}

/**
 * Why `encoded` is not one MessagePack value within the bounds, with text keys and without extension types; null if
 * it is. Never recurses, allocates nothing of the input's size.
 */
export function messagePackProblem(encoded: Uint8Array): string | null {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  /** Values still to come in each open map (keys and values) or array. */
  const open: { map: boolean; left: number }[] = [];
  let position = 0;
  let values = 0;
  do {
    if (++values > MAX_VALUES) return `it has more than ${MAX_VALUES} values`;
    const token = readToken(view, position);
    if (typeof token === 'string') return token;
    const container = open.at(-1);
    const isKey = container?.map === true && container.left % 2 === 0;
    if (container) container.left -= 1;
    if (isKey && token.is !== 'text') return 'a key of a map is no text';
    position = token.next;
    if (token.is === 'map' || token.is === 'array') {
      if (open.length === MAX_DEPTH) return `it is nested deeper than ${MAX_DEPTH}`;
      open.push({ map: token.is === 'map', left: token.is === 'map' ? token.size * 2 : token.size });
    } else {
      if (token.size > encoded.length - position) return 'it ends within a value';
      if (isKey && isProto(encoded, position, token.size)) return 'a key is __proto__';
      position += token.size;
    }
    while (open.at(-1)?.left === 0) open.pop();
  } while (open.length > 0);
  return position === encoded.length ? null : `${encoded.length - position} bytes follow it`;
}

/** The token at `position`; a text: what is wrong. */
function readToken(view: DataView, position: number): Token | string {
  if (position >= view.byteLength) return 'it ends within a value';
  const format = view.getUint8(position);
  if (format <= 0x7f || format >= 0xe0) return { is: 'scalar', size: 0, next: position + 1 };
  if (format <= 0x8f) return { is: 'map', size: format & 0x0f, next: position + 1 };
  if (format <= 0x9f) return { is: 'array', size: format & 0x0f, next: position + 1 };
  if (format <= 0xbf) return { is: 'text', size: format & 0x1f, next: position + 1 };
  const known = FORMATS.get(format);
  if (known === undefined) return `format byte 0x${format.toString(16)} is not allowed`;
  const next = position + 1 + known.lengthBytes;
  if (next > view.byteLength) return 'it ends within a value';
  if (known.lengthBytes === 0) return { is: known.is, size: known.fixedBytes, next };
  if (known.lengthBytes === 1) return { is: known.is, size: view.getUint8(position + 1), next };
  if (known.lengthBytes === 2) return { is: known.is, size: view.getUint16(position + 1), next };
  return { is: known.is, size: view.getUint32(position + 1), next };
}

/** A format byte that has no length or count in its own bits. */
interface Format {
  is: Token['is'];
  /** Size of the length field that follows the format byte. */
  lengthBytes: 0 | 1 | 2 | 4;
  /** Size of the value where there is no length field. */
  fixedBytes: number;
}

const scalar = (fixedBytes: number): Format => ({ is: 'scalar', lengthBytes: 0, fixedBytes });
const sized = (is: Format['is'], lengthBytes: 1 | 2 | 4): Format => ({ is, lengthBytes, fixedBytes: 0 });

/** https://github.com/msgpack/msgpack/blob/master/spec.md, without ext and the unused 0xc1. */
const FORMATS: ReadonlyMap<number, Format> = new Map([
  [0xc0, scalar(0)], // nil
  [0xc2, scalar(0)], // false
  [0xc3, scalar(0)], // true
  [0xc4, sized('scalar', 1)], // bin 8
  [0xc5, sized('scalar', 2)], // bin 16
  [0xc6, sized('scalar', 4)], // bin 32
  [0xca, scalar(4)], // float 32
  [0xcb, scalar(8)], // float 64
  [0xcc, scalar(1)], // uint 8
  [0xcd, scalar(2)], // uint 16
  [0xce, scalar(4)], // uint 32
  [0xcf, scalar(8)], // uint 64
  [0xd0, scalar(1)], // int 8
  [0xd1, scalar(2)], // int 16
  [0xd2, scalar(4)], // int 32
  [0xd3, scalar(8)], // int 64
  [0xd9, sized('text', 1)], // str 8
  [0xda, sized('text', 2)], // str 16
  [0xdb, sized('text', 4)], // str 32
  [0xdc, sized('array', 2)], // array 16
  [0xdd, sized('array', 4)], // array 32
  [0xde, sized('map', 2)], // map 16
  [0xdf, sized('map', 4)], // map 32
]);

const PROTO = Buffer.from('__proto__');

function isProto(encoded: Uint8Array, position: number, length: number): boolean {
  return length === PROTO.length && PROTO.equals(encoded.subarray(position, position + length));
}
