import { parseOptionList } from '../process/option-list.js';

/** One option of a command line. */
interface Option {
  readonly name: string;
  /** Null of one without. */
  readonly value: string | null;
}

/**
 * The arguments that the policy does not allow, as '-OPTION VALUE'. Options are compared in parsed form, key by key, so that
 * neither their order nor a doubled comma makes one look like another. One that the policy does not name is refused with
 * what follows it, since only QEMU knows whether that is its value.
 */
export function refusedArguments(parameters: readonly string[], allowed: readonly string[]): string[] {
  const known = allowed.map(parseAllowed);
  const refused: string[] = [];
  for (let index = 0; index < parameters.length; index += 1) {
    const text = parameters[index]!;
    const name = /^--?([^-].*)$/.exec(text)?.[1];
    const alike = known.filter((option) => option.name === name);
    const takesValue =
      alike.length > 0
        ? alike.some(({ value }) => value !== null)
        : name !== undefined && /^[^-]/.test(parameters[index + 1] ?? '-');
    const value = takesValue ? (parameters[index + 1] ?? '') : null;
    if (takesValue) index += 1;
    if (!alike.some((option) => matches(option, value)))
      refused.push(value === null ? text : `${text} ${value}`);
  }
  return refused;
}

function parseAllowed(text: string): Option {
  const space = text.indexOf(' ');
  if (space === -1) return { name: text.slice(1), value: null };
  return { name: text.slice(1, space), value: text.slice(space + 1).trim() };
}

function matches(allowed: Option, value: string | null): boolean {
  if (allowed.value === null || value === null) return allowed.value === value;
  const given = optionKeys(value);
  const wanted = optionKeys(allowed.value);
  if (!given || !wanted) return false;
  return (
    [...given].every(([key, text]) => wanted.get(key) === text || wanted.get(key) === '*') &&
    [...wanted].every(([key, text]) => text === '*' || given.get(key) === text)
  );
}

/** Values by key, what has no key as that of ''; null for one that can't be read, or reads in more than one way. */
function optionKeys(value: string): ReadonlyMap<string, string> | null {
  try {
    // QEMU opens files that are named within, so only what is plain can be compared.
    if (value.startsWith('{')) return null;
    const { first, keys } = parseOptionList(value, '');
    const parts = value.replaceAll(',,', '').split(',').length;
    const all = new Map(keys);
    if (first !== null) all.set('', first);
    return all.size === parts ? all : null;
  } catch {
    return null;
  }
}
