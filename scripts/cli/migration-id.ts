import type { Argv } from 'yargs';
import { MigrationIdSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';

/** The positional that names the migration. */
export function withMigrationId<Options>(command: Argv<Options>): Argv<Options & { id: string }> {
  return command.positional('id', { type: 'string', demandOption: true, describe: "the migration's id" });
}

/** `id`, if it can be one. Throws invalid-request. */
export function checkedMigrationId(id: string): string {
  return validate(MigrationIdSchema, id, 'invalid-request', `'${id}'`);
}
