import type { Random } from './random.js';

/** Numbers at which lengths, counts and offsets go wrong. */
const EDGES = [0, 1, 127, 128, 255, 256, 4095, 4096, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

type Mutation = (bytes: Buffer, random: Random, samples: readonly Buffer[]) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  // cut short
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  // one bit
  (bytes, random) => changed(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  // one byte
  (bytes, random) => changed(bytes, random, () => random.below(256)),
  // a number of 1, 2 or 4 bytes, as a length would be, in either order
  (bytes, random) => {
    const size = random.pick([1, 2, 4]);
    if (bytes.length < size) return bytes;
    const copy = Buffer.from(bytes);
    const at = random.below(bytes.length - size + 1);
    const value = random.pick(EDGES) % 2 ** (8 * size);
    if (random.chance(2)) copy.writeUIntLE(value, at, size);
    else copy.writeUIntBE(value, at, size);
    return copy;
  },
  // a part left out
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.below(16))]);
  },
  // a part twice
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at + random.below(32)), bytes.subarray(at)]);
  },
  // the head of one and the tail of another
  (bytes, random, samples) => {
    const other = random.pick(samples);
    return Buffer.concat([
      bytes.subarray(0, random.below(bytes.length + 1)),
      other.subarray(random.below(other.length + 1)),
    ]);
  },
  // one behind the other
  (bytes, random, samples) => Buffer.concat([bytes, random.pick(samples)]),
  // zeros, as a file has after a crash
  (bytes, random) => {
    const copy = Buffer.from(bytes);
    return copy.fill(0, random.below(copy.length + 1));
  },
];

function changed(bytes: Buffer, random: Random, to: (byte: number) => number): Buffer {
  if (bytes.length === 0) return bytes;
  const copy = Buffer.from(bytes);
  const at = random.below(copy.length);
  copy[at] = to(copy[at]!);
  return copy;
}

/** One of the samples, changed in one to four ways; now and then as it is, or bytes of no kind. */
export function mutatedBytes(random: Random, samples: readonly Buffer[]): Buffer {
  if (random.chance(50))
    return Buffer.from(Array.from({ length: random.below(64) }, () => random.below(256)));
  let bytes = random.pick(samples);
  if (random.chance(20)) return bytes;
  for (let left = 1 + random.below(4); left > 0; left -= 1)
    bytes = random.pick(MUTATIONS)(bytes, random, samples);
  return bytes;
}

/** What is put where something else belongs. */
const ODD_VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1.5, -0, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, -1e308, Infinity, NaN],
  ...[
    '',
    'x',
    '__proto__',
    '../../etc/passwd',
    '/',
    '\u0000',
    'a\nb',
    '\u202e',
    'x'.repeat(5000),
    '1e999GiB',
    '-1MiB',
  ],
  ...[[], {}, [[]], [null], { a: { b: {} } }],
];
const ODD_KEYS = ['__proto__', 'constructor', 'prototype', 'toString', '', 'x', '../a', 'a\u0000b'];

/** JSON nested so deep. */
function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < depth; i += 1) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** A JSON value with one to three of its members replaced, renamed, removed or added. */
export function mutatedJson(random: Random, sample: unknown): unknown {
  let value: unknown = structuredClone(sample);
  for (let left = 1 + random.below(3); left > 0; left -= 1) value = changeSomewhere(random, value);
  return value;
}

function changeSomewhere(random: Random, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random.chance(8)) return odd(random);
  if (Array.isArray(value)) {
    const items: unknown[] = [...(value as unknown[])];
    if (items.length === 0 || random.chance(4)) items.push(odd(random));
    else {
      const at = random.below(items.length);
      items[at] = changeSomewhere(random, items[at]);
    }
    return items;
  }
  const entries = Object.entries(value);
  if (entries.length === 0 || random.chance(4)) entries.push([random.pick(ODD_KEYS), odd(random)]);
  else {
    const at = random.below(entries.length);
    const [key, member] = entries[at] as [string, unknown];
    const what = random.below(8);
    if (what === 0) entries.splice(at, 1);
    else if (what === 1) entries[at] = [random.pick(ODD_KEYS), member];
    else entries[at] = [key, changeSomewhere(random, member)];
  }
  // An own member also where the key is '__proto__'.
  return Object.fromEntries(entries);
}

function odd(random: Random): unknown {
  return random.chance(40) ? nested(1 + random.below(3000)) : random.pick(ODD_VALUES);
}
