import { isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';
import { issueReasons, MAX_REASONS } from './validate.js';

/** Characters of what was found that an error quotes. */
const MAX_QUOTED = 60;

type Path = readonly PropertyKey[];

/** A text in YAML or JSON that somebody has written, with the lines of its fields. */
export class YamlFile {
  /** What is in it, not checked yet. */
  readonly value: unknown;
  readonly #what: string;
  readonly #code: ErrorCode;
  readonly #lines = new LineCounter();
  readonly #document;

  /** `what` is named in errors. Throws `code`, with the line, where the text is no YAML. */
  constructor(text: string, code: ErrorCode, what: string) {
    this.#what = what;
    this.#code = code;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const [error] = this.#document.errors;
    try {
      if (error) {
        const { line, col } = this.#lines.linePos(error.pos[0]);
        throw new Error(`line ${line}, column ${col}: ${error.message}`);
      }
      this.value = this.#document.toJS();
    } catch (cause) {
      throw new MigrationError(code, `${what} is no YAML: ${(cause as Error).message}`, { cause });
    }
  }

  /** `value`, this file's or what was made of it, as the schema says. Throws, naming line, field, what was found and what is allowed. */
  check<Schema extends z.ZodType>(schema: Schema, value: unknown = this.value): z.output<Schema> {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const reasons = parsed.error.issues
      .flatMap(issueReasons)
      .slice(0, MAX_REASONS)
      .map(({ path, message, keys }) => {
        const field = path.map(String).join('.');
        if (keys) return this.#unknownField(schema, value, path, keys);
        const found = valueAt(value, path);
        const line = `line ${this.#lineOf(path)}`;
        // A rule for a whole object is its own text.
        if (typeof found === 'object' && found !== null)
          return [line, field, message].filter((part) => part !== '').join(': ');
        if (found === undefined) return `${line}: ${field} is missing: ${message}`;
        return `${line}: ${field}: ${message} (found: ${quoted(found)})`;
      });
    throw new MigrationError(this.#code, `${this.#what} is not valid: ${reasons.join('; ')}`);
  }

  #unknownField(schema: z.ZodType, value: unknown, path: Path, keys: readonly string[]): string {
    const line = this.#lineOf([...path, keys[0]!]);
    const known = fieldsAt(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), value, path);
    const names = keys.map((key) => [...path.map(String), key].join('.')).join(', ');
    const allowed = known.length === 0 ? '' : ` (known: ${known.join(', ')})`;
    return `line ${line}: there is no field ${names}${allowed}`;
  }

  /** The line of a field, or of what it would be in. */
  #lineOf(path: Path): number {
    let node: unknown = this.#document.contents;
    let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    for (const key of path) {
      const pair = isMap(node)
        ? node.items.find((item) => isNode(item.key) && String(item.key) === String(key))
        : undefined;
      const next = isPair(pair)
        ? pair.value
        : this.#document.getIn(path.slice(0, path.indexOf(key) + 1), true);
      const place = isPair(pair) && isNode(pair.key) ? pair.key : next;
      if (!isNode(place)) break;
      offset = place.range?.[0] ?? offset;
      node = next;
    }
    return this.#lines.linePos(offset).line;
  }
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

function quoted(found: unknown): string {
  const text = JSON.stringify(found);
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
}

interface JsonSchema {
  readonly const?: unknown;
  readonly properties?: Record<string, JsonSchema>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** Names of the fields that the object at `path` of `value` may have. */
function fieldsAt(schema: object, value: unknown, path: Path): string[] {
  let places = branchesFor(schema, value);
  path.forEach((key, depth) => {
    const inner = valueAt(value, path.slice(0, depth + 1));
    places = places
      .flatMap(({ properties, items }) => [typeof key === 'number' ? items : properties?.[String(key)]])
      .flatMap((place) => (place ? branchesFor(place, inner) : []));
  });
  return [...new Set(places.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

/** What an object may be: of several kinds those that it says it is. */
function branchesFor({ anyOf = [], oneOf = [], ...rest }: JsonSchema, value: unknown): JsonSchema[] {
  const meant = [...anyOf, ...oneOf].filter(({ properties = {} }) =>
    Object.entries(properties).every(
      ([name, property]) => !('const' in property) || property.const === valueAt(value, [name]),
    ),
  );
  return [rest, ...meant];
}
