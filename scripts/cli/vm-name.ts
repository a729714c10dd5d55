import type { Argv } from 'yargs';
import { NameSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';

/** The positional that names the VM. */
export function withName<Options>(command: Argv<Options>): Argv<Options & { vm: string }> {
  return command.positional('vm', { type: 'string', demandOption: true, describe: "the VM's name" });
}

/** `name`, if it can be one. Throws invalid-request. */
export function checkedName(name: string): string {
  return validate(NameSchema, name, 'invalid-request', `'${name}'`);
}
