import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../errors.js';
import { GuestDefinitionSchema, MAX_IMAGE_BYTES } from '../guest-definition.js';
import { MigrationIdSchema, NameSchema } from '../names.js';
import { PAGE_SIZE } from '../page.js';

/**
 * Control messages: what the two agents of a migration say to each other beside the pages. One control connection
 * carries one migration; the source dials. Encoded with MessagePack; see control-codec.ts.
 */

/** Versions of the protocol that this agent speaks: the current one and, once there is one, the previous. */
export const PROTOCOL_VERSIONS = { min: 1, max: 1 } as const;

/** Largest encoded control message in bytes; bounds what one message makes the receiver allocate and validate. */
export const MAX_CONTROL_MESSAGE_BYTES = 64 * 1024;

/** Regions a guest may have: bounds the work of `prepare`. 1 TiB in windows of 2 GiB has 512. */
export const MAX_REGIONS = 512;

/** Traits of a guest that its target is told: bounds the work of `prepare`. */
export const MAX_TRAITS = 32;

/** Page streams (connections) of one migration. */
export const MAX_STREAMS = 16;

/** Pages whose hashes are asked for at once: 8 bytes each, so that the answer fits a control message. */
export const MAX_HASHES = 4096;

/** Characters of a text, as an error's: bounds what is logged and shown of a peer's word. */
export const MAX_TEXT_LENGTH = 1000;

const Text = z.string().max(MAX_TEXT_LENGTH);
const Count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const Milliseconds = z.number().min(0).max(1e12);
/** Latest Unix time that a Date can show (ECMA-262, 'Time Values and Time Range'). ms */
const MAX_UNIX_MS = 8.64e15;
/** Whoever would have more of a head start than that has it before all others anyway. */
const MAX_PRIORITY = 10;
/** Hours of head start in the queues; below zero, of standing back. */
export const PrioritySchema = z.number().int().min(-MAX_PRIORITY).max(MAX_PRIORITY);
const Features = z.array(z.string().max(64)).max(64);
export const ErrorCodeSchema = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

export const VerifyModeSchema = z
  .enum(['off', 'after', 'strict'])
  .describe('How memory is verified: not at all, after the guest runs on the target, or before the commit.');
export type VerifyMode = z.output<typeof VerifyModeSchema>;

export const TransportSchema = z
  .enum(['tcp', 'websocket'])
  .describe(
    'What page streams run over: plain TCP, opened by the target, or WebSocket, opened by the source.',
  );
export type Transport = z.output<typeof TransportSchema>;

/** Memory of a link test, as guests have it: the built-in machine's, or a file as QEMU's. */
export const LinkTestMemorySchema = z.enum(['embedded', 'qemu']);
export type LinkTestMemory = z.output<typeof LinkTestMemorySchema>;

/** Memory of a link test: bounds what a peer can make this side take for it. */
export const MAX_LINK_TEST_BYTES = 2 ** 30;

/** Secret of one migration. */
/** Base64url: it goes into the head of a request, where a line break would begin another header. Empty where there is none. */
const PageToken = z.string().regex(/^[A-Za-z0-9_-]{0,64}$/, 'is no page token');

export const SourceMessageSchema = z.discriminatedUnion('type', [
  // -- opening; fields that this version does not know are left out, so that a later one can add some
  z.object({
    type: z.literal('hello'),
    versions: z.object({ min: z.number().int().min(1), max: z.number().int().min(1) }),
    node: NameSchema,
    /** The node that the source means to reach. */
    to: NameSchema,
    agent: Text,
    features: Features,
    migrationId: MigrationIdSchema,
  }),
  // -- the target's node lock, see agent/lock/
  z.strictObject({
    type: z.literal('lock-request'),
    vm: NameSchema,
    /** Unix time in ms at which the migration was asked for: its place in every queue, ties broken by its id. */
    requestedAt: Count.max(MAX_UNIX_MS),
    /** Absent: 0. */
    priority: PrioritySchema.exactOptional(),
  }),
  z.strictObject({ type: z.literal('lock-try') }),
  z.strictObject({ type: z.literal('lock-pass') }),
  z.strictObject({ type: z.literal('lock-confirm') }),
  z.strictObject({ type: z.literal('lock-keep') }),
  z.strictObject({ type: z.literal('lock-release') }),
  // -- the migration
  z.strictObject({
    type: z.literal('prepare'),
    definition: GuestDefinitionSchema,
    /** Size of the program image that follows as a blob; 0: none. */
    imageBytes: z.number().int().min(0).max(MAX_IMAGE_BYTES),
    regions: z
      .array(z.strictObject({ name: Text, bytes: Count }))
      .min(1)
      .max(MAX_REGIONS),
    /** What the guest relies on at the source beside its definition, by name: version of the hypervisor, machine type. */
    traits: z
      .record(z.string().max(64), Text)
      .refine((traits) => Object.keys(traits).length <= MAX_TRAITS, `must be at most ${MAX_TRAITS}`),
    streams: z.number().int().min(1).max(MAX_STREAMS),
    /**
     * Secret that the target must show when it opens the page streams at the source, over TCP. Absent where the source opens
     * them, over WebSocket.
     */
    pageToken: PageToken.exactOptional(),
    verify: VerifyModeSchema,
    /** Report findings and forget: nothing is created. */
    dryRun: z.boolean(),
  }),
  /** In place of a migration: pages into memory that is thrown away. Answered by `prepared`; rounds follow, to the end of the connection. */
  z.strictObject({
    type: z.literal('link-test'),
    memory: LinkTestMemorySchema,
    bytes: z.number().int().min(1).max(MAX_LINK_TEST_BYTES).multipleOf(PAGE_SIZE),
    streams: z.number().int().min(1).max(MAX_STREAMS),
    pageToken: PageToken.exactOptional(),
  }),
  z.strictObject({
    type: z.literal('verify-request'),
    region: z
      .number()
      .int()
      .min(0)
      .max(MAX_REGIONS - 1),
    firstPage: Count,
    pageCount: z.number().int().min(1).max(MAX_HASHES),
  }),
  z.strictObject({
    type: z.literal('finalize'),
    /** The last round that is sent; what it says counts once all streams have ended that. */
    round: Count,
    /** xxHash64 of the device state, 16 hexadecimal digits. */
    stateDigest: z.string().regex(/^[0-9a-f]{16}$/),
    /** Pages sent in all rounds, zero pages included: the target must have applied as many. */
    pagesSent: Count,
    /** Whether the guest is to run once committed; false for one that its operator has paused. */
    resume: z.boolean(),
  }),
  z.strictObject({ type: z.literal('commit') }),
  z.strictObject({ type: z.literal('abort'), code: ErrorCodeSchema, message: Text }),
  z.strictObject({ type: z.literal('ask') }),
  /** Nothing of the guest is left at the source, which will not ask any more: the record of the commit may go. */
  z.strictObject({ type: z.literal('settled') }),
]);

export const PreflightFindingSchema = z
  .strictObject({
    level: z.enum(['ok', 'warning', 'refusal']),
    code: z.string().max(64),
    message: Text,
    remedy: Text.optional(),
  })
  .meta({ id: 'Finding', description: "One result of a check. A refusal's code is one of those of errors." });
export type PreflightFinding = z.output<typeof PreflightFindingSchema>;

export const TargetMessageSchema = z.discriminatedUnion('type', [
  // -- opening; as with hello, unknown fields are left out
  z.object({
    type: z.literal('welcome'),
    version: z.number().int().min(1),
    node: NameSchema,
    agent: Text,
    features: Features,
  }),
  // -- the target's node lock
  z.strictObject({ type: z.literal('lock-granted') }),
  z.strictObject({ type: z.literal('lock-busy') }),
  z.strictObject({ type: z.literal('lock-offer') }),
  z.strictObject({
    type: z.literal('lock-status'),
    /** Place in the node's queue, 1 being the next. */
    position: Count,
    /** Migrations that came later and went first. */
    overtaken: Count,
    /** Whether the node is kept for this migration because it was overtaken often enough. */
    kept: z.boolean(),
    /** What holds the node now; empty if nothing does. */
    holder: z.string().max(64),
  }),
  // -- the migration
  z.strictObject({
    type: z.literal('prepared'),
    /** How the pages travel: 'tcp' where the target has opened the streams, as the source offered. */
    transport: TransportSchema,
    /** Secret that each page connection over WebSocket must show. Empty where there will be none. */
    token: PageToken,
    findings: z.array(PreflightFindingSchema).max(64),
  }),
  z.strictObject({ type: z.literal('round-ack'), round: Count }),
  z.strictObject({
    type: z.literal('verify-hashes'),
    region: z
      .number()
      .int()
      .min(0)
      .max(MAX_REGIONS - 1),
    firstPage: Count,
    /** xxHash64 of each page, 8 bytes each, little-endian. */
    hashes: z
      .instanceof(Uint8Array)
      .refine(
        ({ length }) => length > 0 && length % 8 === 0 && length <= 8 * MAX_HASHES,
        `must be 8 bytes for each of 1 to ${MAX_HASHES} pages`,
      ),
  }),
  z.strictObject({ type: z.literal('ready'), loadMs: Milliseconds }),
  z.strictObject({
    type: z.literal('running'),
    resumeMs: Milliseconds,
    /** Unix time at which the guest ran, by the target's clock. ms */
    resumedAt: z.number().min(0).max(MAX_UNIX_MS).nullable(),
    /** Why the guest, which is the target's now, does not run; null if all is well. */
    failure: Text.nullable(),
  }),
  z.strictObject({ type: z.literal('aborted') }),
  /** To `settled`: no record of the migration is left. */
  z.strictObject({ type: z.literal('forgotten') }),
  z.strictObject({ type: z.literal('answer'), outcome: z.enum(['pending', 'committed', 'aborted']) }),
  z.strictObject({ type: z.literal('error'), code: ErrorCodeSchema, message: Text, retryable: z.boolean() }),
]);

/** What a source may say. */
export type SourceMessage = z.output<typeof SourceMessageSchema>;
/** What a target may say. */
export type TargetMessage = z.output<typeof TargetMessageSchema>;
