import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';
import { type Reason, reasonsOf } from './validate.js';

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
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const complaints = reasonsOf(parsed.error).map((reason) => this.#complaint(reason, schema, value, more));
    throw new MigrationError(this.#code, complaints.join('\n'));
  }

  #complaint(reason: Reason, schema: z.ZodType, value: unknown, more: readonly string[]): string {
    const path = fieldOf(reason);
    const found = valueAt(value, path);
    const name = path.map(String).join('.') || 'the whole of it';
    const is = found === undefined ? 'it is missing' : `found ${quoted(found)}`;
    const allowed = allowedBy(reason, schema, value, reason.path.length === 0 ? more : []);
    return `${this.#where(this.#offset(path))}: ${name}: ${is}; ${allowed}`;
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

/** The fields of the object at `path` in what a schema describes; of alternatives those that `value` has chosen, or all. */
function knownFields(schema: unknown, value: unknown, path: Path): string[] {
  if (schema instanceof z.ZodDiscriminatedUnion) {
    const { discriminator } = schema.def;
    const chosen = schema.options.filter((option) =>
      optionFits(option, discriminator, valueAt(value, [discriminator])),
    );
    const options: readonly unknown[] = chosen.length > 0 ? chosen : schema.options;
    return [...new Set(options.flatMap((option) => knownFields(option, value, path)))];
  }
  if (schema instanceof z.ZodUnion) {
    return [...new Set(schema.options.flatMap((option) => knownFields(option, value, path)))];
  }
  const [part, ...rest] = path;
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Record<PropertyKey, unknown>;
    return part === undefined ? Object.keys(shape) : knownFields(shape[part], valueAt(value, [part]), rest);
  }
  if (schema instanceof z.ZodArray) {
    return part === undefined ? [] : knownFields(schema.element, valueAt(value, [part]), rest);
  }
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodExactOptional
  ) {
    return knownFields(schema.def.innerType, value, path);
  }
  return schema instanceof z.ZodPipe ? knownFields(schema.def.in, value, path) : [];
}

function optionFits(option: unknown, discriminator: string, value: unknown): boolean {
  const shape = option instanceof z.ZodObject ? (option.shape as Record<string, unknown>) : {};
  const field = shape[discriminator];
  return field instanceof z.ZodType && field.safeParse(value).success;
}
