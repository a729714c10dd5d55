import { z } from 'zod';
import { GuestDefinitionSchema, GuestKindSchema, MAX_IMAGE_BYTES } from '../guest-definition.js';
import { MigrationIdSchema, NameSchema } from '../names.js';
import { Count, CountTextSchema, NodeAddress, Timestamp } from './fields.js';

export const DefineGuestSchema = z
  .strictObject({
    definition: GuestDefinitionSchema,
    image: z
      .base64()
      .max(Math.ceil((MAX_IMAGE_BYTES * 4) / 3) + 4)
      .describe("The ELF file, base64, for program 'image'.")
      .optional(),
  })
  .meta({ id: 'DefineGuest' });

export const GuestStatusSchema = z
  .enum(['stopped', 'running', 'paused', 'finished', 'incoming', 'unknown', 'stray'])
  .describe(
    "'incoming': a migration towards this node is under way; not owned yet. 'unknown': paused because the outcome of its migration " +
      "is not known. 'stray': its machine can't be reached or ended, and may be running; 'failure' says why.",
  );
export type GuestStatus = z.output<typeof GuestStatusSchema>;

export const GuestInfoSchema = z
  .object({
    name: NameSchema,
    kind: GuestKindSchema,
    status: GuestStatusSchema,
    memoryBytes: Count,
    migration: MigrationIdSchema.nullable().describe('Id of the migration that it is part of now.'),
    failure: z.string().nullable().describe("Why it can't go on: its machine failed. Null while it is well."),
    definition: GuestDefinitionSchema,
    writeLog: z
      .object({ kind: z.string(), reason: z.string() })
      .nullable()
      .describe('How writes are tracked and why so; null while stopped.'),
    consoleBytes: Count.describe('Bytes printed since it booted: the end of what console offers.'),
    machine: z
      .record(z.string(), z.union([z.number(), z.string()]).nullable())
      .describe('Figures of the kind; embedded: retiredInstructions, exitCode, wallSeconds.'),
  })
  .meta({ id: 'Guest', description: 'A VM of the node.' });
export type GuestInfo = z.output<typeof GuestInfoSchema>;

/** Takes over a running QEMU that somebody else started. */
export const AdoptGuestSchema = z
  .strictObject({
    qmp: z.string().min(1).max(107).describe("Absolute path of its QMP socket on the agent's host."),
  })
  .meta({ id: 'AdoptGuest' });

/** Who owns a VM whose migration's outcome is not known. */
export const ResolveSchema = z
  .strictObject({
    owner: NameSchema.describe('A node, one of the two.'),
    force: z.boolean().describe("Without the target's word, which can't be had.").default(false),
  })
  .meta({ id: 'Resolve', description: "Who owns a VM whose migration's outcome is not known." });
export type ResolveRequest = z.output<typeof ResolveSchema>;

export const OutcomeReportSchema = z
  .object({
    vm: NameSchema,
    open: z
      .object({
        migration: MigrationIdSchema,
        from: NameSchema,
        to: NameSchema,
        since: Timestamp.describe('When the commit was sent.'),
        takenBack: z
          .boolean()
          .describe(
            'Whether the operator has taken it back already, and the target has not been heard of since, or had committed.',
          ),
        known: z.string().describe('What the target said when it was asked just now.'),
        choices: z.array(z.object({ owner: NameSchema, risk: z.string(), command: z.string() })),
      })
      .nullable()
      .describe('Null where nothing is to be resolved.'),
  })
  .meta({ id: 'OpenOutcome', description: 'What `vmferry vm resolve` prints of a VM.' });
export type OutcomeReport = z.output<typeof OutcomeReportSchema>;

export const ResolutionSchema = z
  .object({
    vm: NameSchema,
    owner: NameSchema,
    guest: GuestInfoSchema.nullable().describe("The VM here; null where it is the target's."),
  })
  .meta({ id: 'Resolution' });
export type Resolution = z.output<typeof ResolutionSchema>;

export const ConsoleQuerySchema = z.strictObject({
  position: CountTextSchema.describe('Bytes printed before the first one that is asked for.').default(0),
  follow: z.enum(['true', 'false']).default('false'),
});

/** The body's limit bounds its length. */
export const ConsoleInputSchema = z
  .strictObject({ data: z.base64().describe('The bytes, base64.') })
  .meta({ id: 'ConsoleInput' });

export const ConsoleChunkSchema = z
  .object({
    position: Count.describe('Position of the first byte of `text` in all that the guest ever printed.'),
    end: Count.describe('Position after its last byte: where to go on.'),
    text: z
      .string()
      .describe(
        "The bytes as printed, one character (code 0 to 255, 'latin1') for each, so that nothing is lost where a chunk ends inside of " +
          'a UTF-8 sequence: end - position characters.',
      ),
  })
  .meta({ id: 'ConsoleChunk' });
export type ConsoleChunk = z.output<typeof ConsoleChunkSchema>;

export const ConsoleEndSchema = z
  .object({
    reason: z.enum(['stopped', 'finished', 'moved']),
    to: NodeAddress.nullable().describe(
      'Where the guest went, if it moved; its console goes on there at the same position.',
    ),
  })
  .meta({ id: 'ConsoleEnd', description: 'How a followed console ends.' });
export type ConsoleEnd = z.output<typeof ConsoleEndSchema>;
