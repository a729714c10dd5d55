/**
 * One QEMU option's value, 'first,key=value,key': see the comment on keyval_parse() in QEMU's util/keyval.c. Two commas
 * stand for one. A value that is a JSON object is read as such, its scalars as text.
 */
export interface OptionList {
  /** What has no key of its own; for JSON the member named `impliedKey`. */
  readonly first: string | null;
  readonly keys: ReadonlyMap<string, string>;
}

export function parseOptionList(text: string, impliedKey: string): OptionList {
  const keys = new Map<string, string>();
  if (text.startsWith('{')) {
    for (const [key, value] of Object.entries(JSON.parse(text) as object)) keys.set(key, scalarText(value));
  } else {
    splitAtCommas(text).forEach((part, index) => {
      const equals = part.indexOf('=');
      if (equals !== -1) keys.set(part.slice(0, equals), part.slice(equals + 1));
      else keys.set(...(index === 0 ? ([impliedKey, part] as const) : ([part, 'on'] as const)));
    });
  }
  const first = keys.get(impliedKey) ?? null;
  keys.delete(impliedKey);
  return { first, keys };
}

/** The keys but `left`, as the value of an option; null where there are no others. */
export function formatOthers(keys: ReadonlyMap<string, string>, left: readonly string[]): string | null {
  const parts = [...keys].filter(([key]) => !left.includes(key));
  if (parts.length === 0) return null;
  return parts.map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`).join(',');
}

/** An argument can't have a NUL, so it stands for a doubled comma meanwhile. */
function splitAtCommas(text: string): string[] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
}

function scalarText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
