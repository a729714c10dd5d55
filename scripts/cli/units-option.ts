import { MigrationError, toMigrationError } from '../../shared/errors.js';

/** The value of an option with a unit; undefined where it is not given. Throws invalid-request, naming the option. */
export function inUnits<Text extends string | undefined>(
  option: string,
  text: Text,
  parse: (text: string) => number,
): Text extends string ? number : number | undefined;
export function inUnits(
  option: string,
  text: string | undefined,
  parse: (text: string) => number,
): number | undefined {
  return text === undefined ? undefined : parsed(`--${option}`, text, parse);
}

/** What `parse` makes of a text. Throws invalid-request, naming what the text is part of. */
export function parsed(what: string, text: string, parse: (text: string) => number): number {
  try {
    return parse(text);
  } catch (thrown) {
    throw new MigrationError('invalid-request', `${what}: ${toMigrationError(thrown).message}`);
  }
}
