import { readFileSync } from 'node:fs';
import t from 'tap';
import { MAX_BACKLOG_MESSAGES, MAX_UNSENT_BYTES } from '../../agent/link/control-channel.js';
import { HEARTBEAT_INTERVAL_MS, HEARTBEAT_TIMEOUT_MS } from '../../agent/link/heartbeat.js';
import { HANDSHAKE_TIMEOUT_MS } from '../../agent/link/hello.js';
import { CONNECT_TIMEOUT_MS } from '../../agent/link/link-client.js';
import { MAX_CONTROL_PAYLOAD, MAX_PAGES_PAYLOAD } from '../../agent/link/link-paths.js';
import { DEFAULT_LINK_LIMITS } from '../../agent/link/link-server.js';
import { MAX_IN_FLIGHT_BYTES } from '../../agent/link/page-stream.js';
import { TCP_DIAL_TIMEOUT_MS } from '../../agent/link/tcp-pages.js';
import { CLOSE_TIMEOUT_MS } from '../../agent/link/ws-connection.js';
import { MIN_PROGRESS_BYTES, SILENT_SOURCE_MS } from '../../agent/target/silent-source.js';
import { ERROR_CODES } from '../../shared/errors.js';
import { MAX_IMAGE_BYTES } from '../../shared/guest-definition.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import {
  decodeSourceMessage,
  decodeTargetMessage,
  encodeSourceMessage,
  encodeTargetMessage,
} from '../../shared/protocol/control-codec.js';
import * as frame from '../../shared/protocol/frame.js';
import * as messages from '../../shared/protocol/messages.js';
import { MAX_DEPTH, MAX_VALUES } from '../../shared/protocol/messagepack-shape.js';
import { referenceDecode } from '../support/link-reference-frames.js';

/** PROTOCOL.md says what the code does. */
const DOCUMENT = readFileSync('PROTOCOL.md', 'utf8');

/** Cells of the rows of the table between `<!-- name -->` and `<!-- /name -->`. */
function table(name: string): string[][] {
  const section = DOCUMENT.split(`<!-- ${name} -->`)[1]?.split(`<!-- /${name} -->`)[0];
  if (section === undefined) throw new Error(`PROTOCOL.md has no section ${name}`);
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const unquoted = (cell: string | undefined) => (cell ?? '').replaceAll('`', '');

void t.test('error codes and close codes', (t) => {
  const expected = Object.entries(ERROR_CODES).map(([code, { retryable, status, means }]) => [
    `\`${code}\``,
    retryable ? 'yes' : 'no',
    String(status),
    String(CLOSE_CODES[code as keyof typeof CLOSE_CODES]),
    means,
  ]);
  t.same(table('errors'), expected);
  t.end();
});

void t.test('limits', (t) => {
  const limits: Record<string, number> = {
    MAX_CONTROL_MESSAGE_BYTES: messages.MAX_CONTROL_MESSAGE_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    MAX_LINK_TEST_BYTES: messages.MAX_LINK_TEST_BYTES,
    MAX_REGIONS: messages.MAX_REGIONS,
    MAX_TRAITS: messages.MAX_TRAITS,
    MAX_STREAMS: messages.MAX_STREAMS,
    MAX_HASHES: messages.MAX_HASHES,
    MAX_IMAGE_BYTES,
    MAX_FRAME_PAYLOAD: frame.MAX_FRAME_PAYLOAD,
    MAX_ZERO_PAGES: frame.MAX_ZERO_PAGES,
    MAX_PAGE_NUMBER: frame.MAX_PAGE_NUMBER,
    MAX_BLOB_BYTES: frame.MAX_BLOB_BYTES,
    MAX_ROUND: frame.MAX_ROUND,
    MAX_CONTROL_PAYLOAD,
    MAX_PAGES_PAYLOAD,
    MAX_BACKLOG_MESSAGES,
    MAX_UNSENT_BYTES,
    MAX_TEXT_LENGTH: messages.MAX_TEXT_LENGTH,
    MAX_IN_FLIGHT_BYTES,
    HANDSHAKE_TIMEOUT_MS,
    CONNECT_TIMEOUT_MS,
    TCP_DIAL_TIMEOUT_MS,
    HEARTBEAT_INTERVAL_MS,
    HEARTBEAT_TIMEOUT_MS,
    CLOSE_TIMEOUT_MS,
    SILENT_SOURCE_MS,
    MIN_PROGRESS_BYTES,
    ...DEFAULT_LINK_LIMITS,
  };
  t.same(Object.fromEntries(table('limits').map(([name, value]) => [unquoted(name), Number(value)])), limits);
  t.end();
});

for (const [side, schema] of [
  ['source', messages.SourceMessageSchema],
  ['target', messages.TargetMessageSchema],
] as const) {
  void t.test(`messages of the ${side}, with all their fields`, (t) => {
    const rows = new Map(table(`messages:${side}`).map(([type, fields]) => [unquoted(type), fields ?? '']));
    const types = schema.options.map((option) => option.shape.type.value);
    t.same([...rows.keys()], types);
    for (const option of schema.options) {
      const { type, ...fields } = option.shape;
      for (const field of Object.keys(fields)) t.match(rows.get(type.value), `\`${field}\``, type.value);
    }
    t.end();
  });
}

void t.test('golden frames', (t) => {
  const encoded = [
    frame.encodePagesHeader({ region: 0, firstPage: 524_288, pageCount: 256 }),
    frame.encodeZeroPages({ region: 1, firstPage: 2 ** 32 + 5, pageCount: 16_384 }),
    frame.encodeBlobHeader('device-state', 1_048_576, 451_424),
    frame.encodeRoundEnd(3),
  ];
  const golden = table('golden:frames').map(([, hex]) => unquoted(hex));
  t.same(
    encoded.map((bytes) => Buffer.from(bytes).toString('hex')),
    golden,
  );
  for (const hex of golden) t.not(referenceDecode(Buffer.from(hex, 'hex')).outcome, 'refused');
  t.end();
});

void t.test('golden messages', (t) => {
  const bytes = (_key: string, value: unknown) =>
    typeof value === 'string' && value.startsWith('bytes ') ? Buffer.from(value.slice(6), 'hex') : value;
  const rows = table('golden:messages');
  t.equal(rows.length, 10);
  for (const [json, hex] of rows) {
    const message: unknown = JSON.parse(unquoted(json), bytes);
    const fromSource = messages.SourceMessageSchema.safeParse(message);
    const encoded = fromSource.success
      ? encodeSourceMessage(fromSource.data)
      : encodeTargetMessage(messages.TargetMessageSchema.parse(message));
    t.equal(Buffer.from(encoded).toString('hex'), unquoted(hex), unquoted(json));
    const decode = fromSource.success ? decodeSourceMessage : decodeTargetMessage;
    t.same(decode(Buffer.from(unquoted(hex), 'hex')), message);
  }
  t.end();
});
