import { z } from 'zod';
import { NameSchema } from './names.js';
import { PAGE_SIZE } from './page.js';
import { parseBytes } from './units.js';

const MIB = 2 ** 20;

/** Bytes as a number or as text with a unit ('64MiB'). */
const BytesSchema = z.union([
  z.number().int(),
  z.string().transform((text, context) => {
    try {
      return parseBytes(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  }),
]);

/** Programs that come with the embedded machine; 'image': an ELF executable that comes with the definition. */
export const EMBEDDED_PROGRAMS = ['idle', 'ticker', 'dirty', 'checksum', 'image'] as const;

export const EmbeddedDefinitionSchema = z.strictObject({
  name: NameSchema,
  kind: z.literal('embedded'),
  /** Bytes of RAM: 1 MiB to 2 GiB, whole pages. */
  memory: BytesSchema.pipe(
    z
      .number()
      .min(MIB, 'must be at least 1 MiB')
      .max(2048 * MIB, 'must be at most 2 GiB')
      .multipleOf(PAGE_SIZE, `must be a multiple of ${PAGE_SIZE} bytes`),
  ),
  program: z.enum(EMBEDDED_PROGRAMS),
  /** Parameters of the program, by name; each program documents its own, with units and defaults. */
  parameters: z.record(z.string().max(32), z.number().int().min(0).max(0xffffffff)).default({}),
  /** Stop (pause) once this many instructions have retired; for reproducible tests. */
  stopAtInstruction: z.number().int().positive().optional(),
});

/** A VM as its owner defines it. Other kinds of guests join this union. */
export const GuestDefinitionSchema = z.discriminatedUnion('kind', [EmbeddedDefinitionSchema]);

export type EmbeddedDefinition = z.output<typeof EmbeddedDefinitionSchema>;
export type GuestDefinition = z.output<typeof GuestDefinitionSchema>;

/** Largest program image (ELF file) that a definition may bring, in bytes; bounds what a peer can make us hold. */
export const MAX_IMAGE_BYTES = 16 * MIB;
