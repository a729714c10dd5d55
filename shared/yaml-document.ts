import { isMap, isNode, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';
import { type Reason, reasonsOf } from './validate.js';

/** What was found is shown up to here. characters */
const MAX_FOUND = 60;

/**
 * A text, YAML or JSON, as a fresh object of the schema's type. `file`: what errors call it. Throws MigrationError `code`, a
 * line for each of the first few things that are wrong: file, line, field, what was found, what is allowed.
 */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
  code: ErrorCode,
  file: string,
): z.output<Schema> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [broken] = document.errors;
  if (broken) {
    const { line } = lines.linePos(broken.pos[0]);
    throw new MigrationError(code, `${file}:${line}: it is no YAML: ${broken.message}`, { cause: broken });
  }
  const parsed = schema.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  const complaints = reasonsOf(parsed.error).map((reason) => {
    const { node, depth } = nearest(document.contents, reason);
    const { line } = node?.range ? lines.linePos(node.range[0]) : { line: 1 };
    const field = fieldOf(reason);
    const there = depth === fieldPath(reason).length;
    const found = there ? `found ${foundIn(document.getIn(fieldPath(reason), false))}` : 'it is missing';
    return `${file}:${line}: ${field}: ${found}; ${allowedBy(reason, schema)}`;
  });
  throw new MigrationError(code, complaints.join('\n'));
}

/** Where it is: for a field that nobody knows, that one itself and not what it is in. */
function fieldPath({ path, issue }: Reason): PropertyKey[] {
  return issue.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : [...path];
}

function fieldOf(reason: Reason): string {
  return fieldPath(reason).map(String).join('.') || 'the whole of it';
}

/** The node of a field, its key where it has one; of what it should be in, where it is not there. */
function nearest(root: Node | null, reason: Reason): { node: Node | null; depth: number } {
  let at: unknown = root;
  let node = root;
  let depth = 0;
  for (const part of fieldPath(reason)) {
    if (!isNode(at) || !('get' in at) || typeof at.get !== 'function') break;
    const next: unknown = (at as { get(key: unknown, keepScalar: true): unknown }).get(part, true);
    if (next === undefined) break;
    const key = isMap(at) ? at.items.find((pair) => String(pair.key) === String(part))?.key : null;
    node = isNode(key) ? key : isNode(next) ? next : node;
    at = next;
    depth += 1;
  }
  return { node, depth };
}

function foundIn(value: unknown): string {
  if (isNode(value)) return 'items' in value ? foundIn(value.toJSON()) : String(value);
  const text = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  if (text === undefined) return 'nothing';
  return text.length > MAX_FOUND ? `${text.slice(0, MAX_FOUND)}…` : text;
}

function allowedBy({ path, message, issue }: Reason, schema: z.ZodType): string {
  // Of a union by one field, zod's own words have what that may be.
  if (issue.code === 'invalid_union') return issue.message;
  if (issue.code !== 'unrecognized_keys') return message;
  const known = knownFields(schema, path);
  return known.length === 0 ? 'no such field is known' : `no such field is known, but ${known.join(', ')}`;
}

/** The fields of the object at `path` in what a schema describes. */
function knownFields(schema: unknown, [part, ...rest]: readonly PropertyKey[]): string[] {
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Record<PropertyKey, unknown>;
    return part === undefined ? Object.keys(shape) : knownFields(shape[part], rest);
  }
  if (schema instanceof z.ZodArray) return knownFields(schema.element, rest);
  const path = part === undefined ? [] : [part, ...rest];
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodExactOptional
  ) {
    return knownFields(schema.def.innerType, path);
  }
  if (schema instanceof z.ZodPipe) return knownFields(schema.def.in, path);
  if (schema instanceof z.ZodUnion) {
    return [...new Set(schema.options.flatMap((branch) => knownFields(branch, path)))];
  }
  return [];
}
