import { MigrationError } from '../../shared/errors.js';

/**
 * Throws invalid-request where an option was given that does nothing without another one: it would be passed over without a word. yargs
 * tells that by an arrow, and takes an option that has a default for one that was given.
 */
export function onlyWith(option: string, given: unknown, needed: string, there: unknown): void {
  if (given === undefined || (there !== undefined && there !== false)) return;
  throw new MigrationError('invalid-request', `${option} is for ${needed}: add that, or leave ${option} out`);
}
