import fc from 'fast-check';
import msgpack from 'msgpack-lite';
import t from 'tap';
import { MigrationError } from '../../shared/errors.js';
import { QemuDefinitionSchema } from '../../shared/guest-definition.js';
import {
  decodeSourceMessage,
  decodeTargetMessage,
  encodeSourceMessage,
  encodeTargetMessage,
} from '../../shared/protocol/control-codec.js';
import {
  MAX_CONTROL_MESSAGE_BYTES,
  SourceMessageSchema,
  TargetMessageSchema,
} from '../../shared/protocol/messages.js';
import { SOURCE_SAMPLES, TARGET_SAMPLES } from '../support/link-samples.js';

interface Side {
  name: string;
  samples: readonly { type: string }[];
  encode: (message: never) => Uint8Array;
  decode: (encoded: Uint8Array) => { type: string };
}

const SOURCE: Side = {
  name: 'source',
  samples: SOURCE_SAMPLES,
  encode: encodeSourceMessage,
  decode: decodeSourceMessage,
};
const TARGET: Side = {
  name: 'target',
  samples: TARGET_SAMPLES,
  encode: encodeTargetMessage,
  decode: decodeTargetMessage,
};

/** The message, or null where it is refused with bad-message; any other error is the codec's fault. */
function decoded(side: Side, encoded: Uint8Array): { type: string } | null {
  try {
    return side.decode(encoded);
  } catch (error) {
    if (error instanceof MigrationError && error.code === 'bad-message') return null;
    throw error;
  }
}

/** Plain data all the way down: what was decoded has no prototype of the peer's choosing. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return true;
  if (Array.isArray(value)) return value.every(isPlain);
  return Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(isPlain);
}

/** Whatever was accepted is plain, and means the same when it is sent on. */
function acceptedIsSound(side: Side, message: { type: string }): boolean {
  const again = side.decode(side.encode(message as never));
  return isPlain(message) && JSON.stringify(again) === JSON.stringify(message);
}

void t.test('the time of a request is one that a date can show', (t) => {
  const request = { type: 'lock-request', vm: 'vm', requestedAt: 8.64e15 } as const;
  t.same(decodeSourceMessage(encodeSourceMessage(request)), request);
  t.doesNotThrow(() => new Date(request.requestedAt).toISOString());
  t.throws(() => encodeSourceMessage({ ...request, requestedAt: 8.64e15 + 1 }), { message: /requestedAt/ });
  t.notOk(SourceMessageSchema.safeParse({ ...request, requestedAt: 8.64e15 + 1 }).success);
  t.end();
});

for (const side of [SOURCE, TARGET]) {
  void t.test(`every message of the ${side.name} survives the way`, (t) => {
    const schema = side === SOURCE ? SourceMessageSchema : TargetMessageSchema;
    const types = schema.options.map((option) => option.shape.type.value);
    t.same(new Set(side.samples.map(({ type }) => type)), new Set(types), 'there is a sample of each type');
    for (const sample of side.samples) t.same(side.decode(side.encode(sample as never)), sample, sample.type);
    t.end();
  });

  void t.test(`a message of the ${side.name} that ends at any offset is refused`, (t) => {
    let cases = 0;
    for (const sample of side.samples) {
      const encoded = side.encode(sample as never);
      for (let end = 0; end < encoded.length; end += 1) {
        if (decoded(side, encoded.subarray(0, end))) return t.fail(`${sample.type} cut at ${end}`);
        cases += 1;
      }
    }
    t.ok(cases > 300, `${cases} cuts`);
    t.end();
  });

  void t.test(`a byte behind a message of the ${side.name} is refused`, (t) => {
    const encoded = side.encode(side.samples[1] as never);
    t.throws(() => side.decode(Buffer.concat([encoded, Buffer.of(0xc0)])), {
      code: 'bad-message',
      message: /1 bytes follow it/,
    });
    t.end();
  });

  void t.test(`mutated messages of the ${side.name}: valid or bad-message, nothing else`, (t) => {
    const mutation = fc.record({
      at: fc.nat(),
      remove: fc.nat(3),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 3 }),
        // format bytes: containers, extension types, long lengths
        fc
          .constantFrom(0x80, 0x8f, 0x9f, 0xc1, 0xc7, 0xc9, 0xd4, 0xd8, 0xdb, 0xdd, 0xdf, 0xc6)
          .map((byte) => Uint8Array.of(byte)),
      ),
    });
    const encodedSamples = side.samples.map((sample) => Buffer.from(side.encode(sample as never)));
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...encodedSamples),
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        (sample, mutations) => {
          let encoded = sample;
          for (const { at, remove, insert } of mutations) {
            const position = at % (encoded.length + 1);
            const rest = encoded.subarray(position + remove);
            encoded = Buffer.concat([encoded.subarray(0, position), insert, rest]);
          }
          const message = decoded(side, encoded);
          if (message === null) return true;
          accepted += 1;
          return acceptedIsSound(side, message);
        },
      ),
      { numRuns: 20_000 },
    );
    t.ok(accepted > 50, `${accepted} were still valid`);
    t.end();
  });

  void t.test(`messages of the ${side.name} with a field of any value: valid or bad-message`, (t) => {
    const value = fc.oneof(
      fc.anything({ maxDepth: 3, maxKeys: 4, withNullPrototype: false }),
      fc.constantFrom(-1, 0.5, 2 ** 53, 2 ** 64, NaN, Infinity, '', 'x'.repeat(2000), '__proto__'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...side.samples), fc.nat(), value, (sample, which, replaced) => {
        const paths = fieldPaths(sample);
        const path = paths[which % paths.length] ?? [];
        const encoded = msgpack.encode(withField(sample, path, replaced));
        const message = decoded(side, encoded);
        return message === null || acceptedIsSound(side, message);
      }),
      { numRuns: 10_000 },
    );
    t.pass();
    t.end();
  });
}

/** Paths to all fields of an object, nested ones included. */
function fieldPaths(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [path];
  return [path, ...Object.entries(value).flatMap(([key, field]) => fieldPaths(field, [...path, key]))];
}

function withField(value: unknown, path: readonly string[], replacement: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined || typeof value !== 'object' || value === null) return replacement;
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) =>
      String(index) === key ? withField(item, rest, replacement) : item,
    );
  }
  return { ...value, [key]: withField((value as Record<string, unknown>)[key], rest, replacement) };
}

void t.test('random bytes: valid or bad-message', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      (bytes) => decoded(SOURCE, bytes) === null && decoded(TARGET, bytes) === null,
    ),
    { numRuns: 10_000 },
  );
  t.pass();
  t.end();
});

void t.test('hostile encodings are refused before they cost anything', (t) => {
  const hostile: [string, Buffer, RegExp][] = [
    ['too long', Buffer.alloc(MAX_CONTROL_MESSAGE_BYTES + 1), /has 65537 bytes: at most 65536/],
    ['nothing', Buffer.alloc(0), /ends within a value/],
    ['nested arrays', Buffer.alloc(60_000, 0x91), /nested deeper than 8/],
    ['nested maps', Buffer.from('81a161'.repeat(10_000), 'hex'), /nested deeper than 8/],
    [
      'many values',
      Buffer.concat([Buffer.from('dcffff', 'hex'), Buffer.alloc(60_000)]),
      /more than 4096 values/,
    ],
    ['a huge array', Buffer.from('ddffffffff', 'hex'), /ends within a value/],
    ['a huge map', Buffer.from('dfffffffff', 'hex'), /ends within a value/],
    ['a huge text', Buffer.from('dbffffffff61', 'hex'), /ends within a value/],
    ['a prototype', msgpackOfProto(), /a key is __proto__/],
    ['a number as key', Buffer.from('810102', 'hex'), /a key of a map is no text/],
    ['a map as key', Buffer.from('818000', 'hex'), /a key of a map is no text/],
    ['a regular expression', msgpack.encode({ type: /(a+)+$/ }), /format byte 0x/],
    ['a date', msgpack.encode({ type: new Date(0) }), /format byte 0x/],
    ['the unused format', Buffer.of(0xc1), /format byte 0xc1/],
  ];
  for (const [name, encoded, message] of hostile) {
    t.throws(() => decodeSourceMessage(encoded), { code: 'bad-message', message }, name);
  }
  t.equal(({} as { polluted?: string }).polluted, undefined);
  t.end();
});

function msgpackOfProto(): Buffer {
  const key = Buffer.from('__proto__');
  return Buffer.concat([Buffer.of(0x81, 0xa0 + key.length), key, msgpack.encode({ polluted: 'yes' })]);
}

void t.test('the reason names the field', (t) => {
  const encoded = msgpack.encode({ type: 'verify-request', region: 512, firstPage: -1, pageCount: 5000 });
  t.throws(() => decodeSourceMessage(encoded), {
    code: 'bad-message',
    message: /control message of the source is not valid: region: .*firstPage: .*pageCount: /,
  });
  t.throws(() => decodeTargetMessage(msgpack.encode({ type: 'reboot' })), { message: /type: / });
  t.end();
});

void t.test('what a later version adds to hello and welcome is left out, elsewhere it is refused', (t) => {
  const [hello] = SOURCE_SAMPLES;
  t.same(decodeSourceMessage(msgpack.encode({ ...hello, colour: 'blue' })), hello);
  t.throws(() => decodeSourceMessage(msgpack.encode({ type: 'commit', colour: 'blue' })), {
    code: 'bad-message',
    message: /colour/,
  });
  t.end();
});

void t.test('an outgoing message is checked as well', (t) => {
  t.throws(() => encodeSourceMessage({ type: 'round-ack' } as never), { code: 'bad-message' });
  const hashes = new Uint8Array(7);
  t.throws(() => encodeTargetMessage({ type: 'verify-hashes', region: 0, firstPage: 0, hashes }), {
    code: 'bad-message',
    message: /8 bytes for each/,
  });
  t.throws(() => encodeSourceMessage(hugePrepare()), { code: 'bad-message', message: /at most 65536/ });
  t.end();
});

function hugePrepare() {
  const definition = QemuDefinitionSchema.parse({
    name: 'vm',
    kind: 'qemu',
    memory: 2 ** 20,
    arguments: Array.from({ length: 20 }, () => 'x'.repeat(4000)),
  });
  return {
    type: 'prepare' as const,
    definition,
    imageBytes: 0,
    regions: [{ name: 'ram', bytes: 2 ** 20 }],
    traits: {},
    streams: 1,
    verify: 'off' as const,
    dryRun: false,
  };
}

void t.test('a field that is undefined is left out, not sent as nothing', (t) => {
  const findings = [{ level: 'ok' as const, code: 'memory', message: 'fits', remedy: undefined }];
  const encoded = encodeTargetMessage({ type: 'prepared', transport: 'websocket', token: '', findings });
  t.same(decodeTargetMessage(encoded), {
    type: 'prepared',
    transport: 'websocket',
    token: '',
    findings: [{ level: 'ok', code: 'memory', message: 'fits' }],
  });
  t.end();
});
