import { z } from 'zod';

/** Name of a VM or id of a node: at most 63 characters, safe in file names, URLs and logs. */
export const NameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be 1 to 63 letters, digits, dots, dashes or underscores, the first a letter or digit',
  );

/** Id of a migration: chosen by the source, unique in the cluster. */
export const MigrationIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{7,63}$/, 'must be 8 to 64 lower-case letters, digits or dashes');
