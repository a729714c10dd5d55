import msgpack from 'msgpack-lite';
import type { z } from 'zod';
import { MigrationError } from '../errors.js';
import { validate } from '../validate.js';
import {
  MAX_CONTROL_MESSAGE_BYTES,
  SourceMessageSchema,
  TargetMessageSchema,
  type SourceMessage,
  type TargetMessage,
} from './messages.js';
import { messagePackProblem } from './messagepack-shape.js';

/**
 * Control messages to bytes and back. Decoding trusts nothing: the size is checked first, then the shape
 * (depth, number of values, nothing behind the value), then it is decoded, then every field is validated into a
 * fresh object. Whatever arrives, the outcome is a valid message or MigrationError bad-message.
 */

/** Without the preset of msgpack-lite no extension type is decoded (its preset runs `RegExp` on what it gets). */
const CODEC = msgpack.createCodec();

/** Throws bad-message for what its own schema refuses: a defect of the caller is found here, not by the peer. */
export function encodeSourceMessage(message: SourceMessage): Uint8Array {
  return encode(SourceMessageSchema, message);
}

/** As encodeSourceMessage. */
export function encodeTargetMessage(message: TargetMessage): Uint8Array {
  return encode(TargetMessageSchema, message);
}

/** What a source says, from one message of the control connection. Throws bad-message. */
export function decodeSourceMessage(encoded: Uint8Array): SourceMessage {
  return decode(SourceMessageSchema, encoded, 'control message of the source');
}

/** What a target says, from one message of the control connection. Throws bad-message. */
export function decodeTargetMessage(encoded: Uint8Array): TargetMessage {
  return decode(TargetMessageSchema, encoded, 'control message of the target');
}

function encode<Schema extends z.ZodType>(schema: Schema, message: z.input<Schema>): Uint8Array {
  const valid = validate(schema, message, 'bad-message', 'outgoing control message');
  const encoded = msgpack.encode(encodable(valid), { codec: CODEC });
  if (encoded.length > MAX_CONTROL_MESSAGE_BYTES) {
    throw new MigrationError(
      'bad-message',
      `outgoing control message has ${encoded.length} bytes: at most ${MAX_CONTROL_MESSAGE_BYTES} are allowed`,
    );
  }
  return encoded;
}

function decode<Schema extends z.ZodType>(
  schema: Schema,
  encoded: Uint8Array,
  what: string,
): z.output<Schema> {
  if (encoded.length > MAX_CONTROL_MESSAGE_BYTES) {
    throw new MigrationError(
      'bad-message',
      `${what} has ${encoded.length} bytes: at most ${MAX_CONTROL_MESSAGE_BYTES} are allowed`,
    );
  }
  const problem = messagePackProblem(encoded);
  if (problem !== null) {
    throw new MigrationError('bad-message', `${what} is no single MessagePack value: ${problem}`);
  }
  let value: unknown;
  try {
    value = msgpack.decode(encoded, { codec: CODEC });
  } catch (error) {
    throw new MigrationError('bad-message', `${what} cannot be decoded: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return validate(schema, value, 'bad-message', what);
}

/** A validated message as msgpack-lite takes it: optional fields that are undefined are left out instead of nil. */
function encodable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(encodable);
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, field]) => field !== undefined);
    return Object.fromEntries(entries.map(([key, field]) => [key, encodable(field)]));
  }
  return value;
}
