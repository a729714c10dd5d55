import { MigrationError } from '../../../../shared/errors.js';
import type { EmbeddedDefinition } from '../../../../shared/guest-definition.js';
import { checksum } from './checksum.js';
import { dirty } from './dirty.js';
import { idle } from './idle.js';
import type { Program } from './program.js';
import { ticker } from './ticker.js';

/** The programs that come with the embedded machine, by the name that a definition gives. */
export const PROGRAMS: Readonly<Record<Exclude<EmbeddedDefinition['program'], 'image'>, Program>> = {
  idle,
  ticker,
  dirty,
  checksum,
};

/**
 * The image of the built-in program that `definition` names, for its parameters and memory.
 * Throws invalid-definition, with the parameter as its field, for one that is unknown or out of its range.
 */
export function buildProgram(
  name: keyof typeof PROGRAMS,
  parameters: Readonly<Record<string, number>>,
  memoryBytes: number,
): Uint8Array {
  const program = PROGRAMS[name];
  const known = Object.keys(program.parameters);
  for (const given of Object.keys(parameters)) {
    if (!known.includes(given)) {
      throw new MigrationError(
        'invalid-definition',
        `program ${name} has no parameter '${given}': it takes ${known.join(', ')}`,
        { field: ['parameters', given] },
      );
    }
  }
  const value = (parameter: string): number => {
    const allowed = program.parameters[parameter];
    if (!allowed) throw new RangeError(`program ${name} asks for a parameter that it does not declare`);
    const chosen = Object.hasOwn(parameters, parameter) ? parameters[parameter]! : allowed.default;
    if (!Number.isInteger(chosen) || chosen < allowed.min || chosen > allowed.max) {
      throw new MigrationError(
        'invalid-definition',
        `parameter ${parameter} of program ${name} is ${chosen}: give ${allowed.min} to ${allowed.max} ${allowed.unit}`,
        { field: ['parameters', parameter] },
      );
    }
    return chosen;
  };
  try {
    return program.build(value, memoryBytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const reason = `program ${name} cannot be built: ${error.message}`;
    const field = Object.keys(parameters).length > 0 ? ['parameters'] : ['memory'];
    throw new MigrationError('invalid-definition', reason, { cause: error, field });
  }
}
