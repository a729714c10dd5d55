import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';
import { parsedAs, type Reason, reasonsOf } from './validate.js';

/** What was found is shown up to here. characters */
const MAX_FOUND = 60;

type Path = readonly PropertyKey[];

/** A text, YAML or JSON, that knows where in it each field is. */
export class YamlDocument {
  /** What is in it. */
  readonly value: unknown;
  readonly #file: string;
  readonly #code: ErrorCode;
  readonly #document: Document;
  readonly #lines: LineCounter;

  /** `file`: what errors call it. Throws MigrationError `code` with file, line and reason where it is no YAML. */
  constructor(content: string, code: ErrorCode, file: string) {
    this.#file = file;
    this.#code = code;
    this.#lines = new LineCounter();
    const tooMuch = (cause: unknown) =>
      new MigrationError(code, `${file}: it is nested too deep, or its aliases make too much of it`, {
        cause,
      });
    try {
      this.#document = parseDocument(content, {
        lineCounter: this.#lines,
        prettyErrors: false,
        logLevel: 'error',
      });
    } catch (cause) {
      throw tooMuch(cause);
    }
    const [broken] = this.#document.errors;
    if (broken?.code === 'RESOURCE_EXHAUSTION') throw tooMuch(broken);
    if (broken) {
      const text = `${this.#where(broken.pos[0])}: it is no YAML: ${broken.message}`;
      throw new MigrationError(code, text, { cause: broken });
    }
    try {
      this.value = this.#document.toJS();
    } catch (cause) {
      throw tooMuch(cause);
    }
  }

  /**
   * `value`, which may differ from what is in the document by fields that were added or taken, as a fresh object of the schema's
   * type. `more`: fields that may be in the document all the same. Throws MigrationError, a line for each of the first few things
   * that are wrong: file, line, field, what was found, what is allowed.
   */
  validate<Schema extends z.ZodType>(
    schema: Schema,
    value: unknown = this.value,
    more: readonly string[] = [],
  ): z.output<Schema> {
    const parsed = parsedAs(schema, value);
    if (parsed.success) return parsed.data;
    const complaints = reasonsOf(parsed.error).map((reason) => this.#complaint(reason, schema, value, more));
    throw new MigrationError(this.#code, complaints.join('\n'));
  }

  /** The error with file, line and what was found, where it names a field; else as it is. */
  located(error: unknown): unknown {
    if (!(error instanceof MigrationError) || error.field === undefined) return error;
    const { code, message, field } = error;
    return new MigrationError(code, this.#told(field, valueAt(this.value, field), message), {
      cause: error,
      field,
    });
  }

  #complaint(reason: Reason, schema: z.ZodType, value: unknown, more: readonly string[]): string {
    const path = fieldOf(reason);
    const allowed = allowedBy(reason, schema, value, reason.path.length === 0 ? more : []);
    return this.#told(path, valueAt(value, path), allowed);
  }

  #told(path: Path, found: unknown, words: string): string {
    const name = path.map(String).join('.') || 'the whole of it';
    const is = found === undefined ? 'it is missing' : `found ${quoted(found)}`;
    return `${this.#where(this.#offset(path))}: ${name}: ${is}; ${words}`;
  }

  /** Of a field, or of the nearest that it should be in. */
  #offset(path: Path): number {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const offset = offsetAt(this.#document, path.slice(0, depth));
      if (offset !== undefined) return offset;
    }
    return this.#document.contents?.range?.[0] ?? 0;
  }

  #where(offset: number): string {
    return `${this.#file}:${Math.max(1, this.#lines.linePos(offset).line)}`;
  }
}

/** A text, YAML or JSON, as a fresh object of the schema's type. Throws what YamlDocument does. */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
  code: ErrorCode,
  file: string,
): z.output<Schema> {
  return new YamlDocument(text, code, file).validate(schema);
}

/** Where it is: for a field that nobody knows, that one itself and not what it is in. */
function fieldOf({ path, issue }: Reason): Path {
  return issue.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path;
}

function offsetAt(document: Document, path: Path): number | undefined {
  const key = path.at(-1)!;
  const parent = document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
  }
  const item: unknown = isSeq(parent) ? parent.items[Number(key)] : undefined;
  return isNode(item) ? item.range?.[0] : undefined;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, key) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, key)
        ? (at as Record<PropertyKey, unknown>)[key]
        : undefined,
    value,
  );
}

function quoted(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value));
  return text.length > MAX_FOUND ? `${text.slice(0, MAX_FOUND)}…` : text;
}

function allowedBy(
  { path, message, issue }: Reason,
  schema: z.ZodType,
  value: unknown,
  more: readonly string[],
): string {
  if (issue.code === 'unrecognized_keys') {
    const known = [...knownFields(schema, value, path), ...more];
    return known.length === 0 ? 'no such field is known' : `no such field is known, but ${known.join(', ')}`;
  }
  // Of a union by one field, zod's own words have what that may be.
  return issue.code === 'invalid_union' ? issue.message : message;
}

interface JsonSchema {
  readonly const?: unknown;
  readonly properties?: Record<string, JsonSchema>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** Names of the fields that the object at `path` of `value` may have. Without the ids of schemas, which would be references in their places. */
function knownFields(schema: z.ZodType, value: unknown, path: Path): string[] {
  let places = branchesOf(
    z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', metadata: z.registry() }) as JsonSchema,
    value,
  );
  path.forEach((key, depth) => {
    const inner = valueAt(value, path.slice(0, depth + 1));
    places = places
      .flatMap(({ properties, items }) => [typeof key === 'number' ? items : properties?.[String(key)]])
      .flatMap((place) => (place ? branchesOf(place, inner) : []));
  });
  return [...new Set(places.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

/** What an object may be: of several kinds those that it says it is. */
function branchesOf({ anyOf = [], oneOf = [], ...rest }: JsonSchema, value: unknown): JsonSchema[] {
  const meant = [...anyOf, ...oneOf].filter(({ properties = {} }) =>
    Object.entries(properties).every(
      ([name, property]) => !('const' in property) || property.const === valueAt(value, [name]),
    ),
  );
  return [rest, ...meant];
}
