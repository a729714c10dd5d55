import { z } from 'zod';
import { toMigrationError } from '../../../../shared/errors.js';
import { validate } from '../../../../shared/validate.js';
import { QmpConnectionError } from './qmp-errors.js';

/**
 * What QEMU says, one JSON object a line. Source: QEMU's docs/interop/qmp-spec, 'Protocol Specification'. Members that
 * are not known are ignored, as the specification asks of clients. Numbers above 2^53 lose precision.
 */
export type QmpMessage =
  | { type: 'greeting'; version: QemuVersion }
  | { type: 'reply'; id: number; value: unknown }
  | { type: 'error'; id: number; class: string; desc: string }
  | { type: 'event'; event: QmpEvent };

/** QEMU's version; `package` is the distributor's, e.g. 'Debian 1:7.2+dfsg-7'. */
export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  readonly package: string;
}

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it happened, as QEMU's host tells the time: Unix ms, with microseconds as the fraction. */
  readonly at: number;
}

const Text = z.string().max(10_000);
const Number32 = z.number().int().min(0).max(0xffffffff);

const GreetingSchema = z.object({
  QMP: z.object({
    version: z.object({
      qemu: z.object({ major: Number32, minor: Number32, micro: Number32 }),
      package: Text.default(''),
    }),
  }),
});

const EventSchema = z.object({
  event: Text,
  data: z.record(z.string(), z.unknown()).default({}),
  timestamp: z.object({ seconds: z.number(), microseconds: z.number() }),
});

const ReplySchema = z.object({ return: z.unknown(), id: z.number() });

const ErrorSchema = z.object({ error: z.object({ class: Text, desc: Text }), id: z.number() });

/** Characters of a line that an error quotes. */
const QUOTED_CHARACTERS = 80;

/**
 * One line as what it says. `now` gives the Unix time in ms of an event for which QEMU could not tell the time.
 * Throws QmpConnectionError 'protocol', saying what is wrong.
 */
export function parseQmpMessage(line: string, now: () => number): QmpMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new QmpConnectionError('protocol', `'${line.slice(0, QUOTED_CHARACTERS)}' is no JSON`, {
      cause: error,
    });
  }
  if (typeof value === 'object' && value !== null) {
    if ('QMP' in value) return greeting(value);
    if ('event' in value) return event(value, now);
    if ('error' in value) return refusal(value);
    if ('return' in value) return reply(value);
  }
  throw new QmpConnectionError(
    'protocol',
    `'${line.slice(0, QUOTED_CHARACTERS)}' is neither greeting, reply, error nor event`,
  );
}

function greeting(value: object): QmpMessage {
  const { version } = checked(GreetingSchema, value, 'the greeting').QMP;
  return { type: 'greeting', version: { ...version.qemu, package: version.package } };
}

function event(value: object, now: () => number): QmpMessage {
  const { event: name, data, timestamp } = checked(EventSchema, value, 'an event');
  const { seconds, microseconds } = timestamp;
  // both are -1 where QEMU could not read its clock
  const at = seconds < 0 || microseconds < 0 ? now() : seconds * 1000 + microseconds / 1000;
  return { type: 'event', event: { name, data, at } };
}

function reply(value: object): QmpMessage {
  const { return: returned, id } = checked(ReplySchema, value, 'a reply');
  return { type: 'reply', id, value: returned };
}

function refusal(value: object): QmpMessage {
  const { error, id } = checked(ErrorSchema, value, 'an error');
  return { type: 'error', id, class: error.class, desc: error.desc };
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  try {
    return validate(schema, value, 'guest-failed', what);
  } catch (error) {
    throw new QmpConnectionError('protocol', toMigrationError(error).message, { cause: error });
  }
}
