import { z } from 'zod';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';
import { MigrationIdSchema, NameSchema } from '../../../../shared/names.js';
import { ProcessIdentitySchema } from './process-identity.js';

/** What an agent notes about a guest for the agent after it. */
export const GuestRecordSchema = z.strictObject({
  version: z.literal(1),
  definition: QemuDefinitionSchema,
  node: NameSchema,
  /** Null until QEMU is started. */
  process: ProcessIdentitySchema.nullable(),
  /** What its operator wants it to be; 'finished': it has powered itself off. */
  wanted: z.enum(['running', 'paused', 'finished']),
  /** The migration that is bringing it here; null once it is the node's own. */
  incoming: MigrationIdSchema.nullable(),
  /** Files of its memory, in the order of its memory objects; they go with the guest. */
  ramFiles: z.array(z.string()),
  qmpSocket: z.string(),
  /** Position in the guest's transcript of the first byte of the console log; null for a guest without our console. */
  consoleBase: z.number().int().min(0).nullable(),
  /** What executes its instructions. */
  accel: z.enum(['kvm', 'tcg']),
});

export type GuestRecord = z.output<typeof GuestRecordSchema>;
