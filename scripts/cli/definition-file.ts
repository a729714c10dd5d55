import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { MigrationError } from '../../shared/errors.js';
import {
  EmbeddedDefinitionSchema,
  GuestDefinitionSchema,
  MAX_IMAGE_BYTES,
  QemuDefinitionSchema,
  type GuestDefinition,
} from '../../shared/guest-definition.js';
import { formatBytes } from '../../shared/units.js';
import { type Describe, validate } from '../../shared/validate.js';

/** What an agent takes of a definition at most; another file that is named by mistake is not read. bytes */
const MAX_DEFINITION_BYTES = 64 * 1024;

/** Characters of a value that an error quotes. */
const QUOTED_CHARACTERS = 60;

/** Names a definition may give the path of its program image by. */
const IMAGE_KEYS = ['elf', 'image'] as const;

/** A definition with the program image that it names. */
export interface DefinedGuest {
  readonly definition: GuestDefinition;
  readonly image: Uint8Array | undefined;
}

/**
 * Reads a VM definition, YAML or JSON, from a file or, for '-', from `stdin`. `elf: PATH` (or `image: PATH`) in it is
 * the program image, relative to the file. Throws invalid-definition or invalid-image, naming the file, the line and the field.
 */
export async function readDefinition(file: string, stdin: Readable): Promise<DefinedGuest> {
  const what = file === '-' ? 'the VM definition on standard input' : `VM definition ${file}`;
  const lines = new LineCounter();
  let document: Document;
  let content: unknown;
  try {
    document = parseDocument(await readText(file, stdin), { lineCounter: lines });
    if (document.errors[0]) throw document.errors[0];
    content = document.toJS();
  } catch (thrown) {
    throw new MigrationError('invalid-definition', `${what}: ${reasonOf(thrown)}`, { cause: thrown });
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new MigrationError(
      'invalid-definition',
      `${what}: a list of fields was expected, like 'name: web-1'`,
    );
  }
  const fields = { ...(content as Record<string, unknown>) };
  const keys = IMAGE_KEYS.filter((key) => fields[key] !== undefined);
  const [key] = keys;
  if (keys.length > 1) {
    throw new MigrationError('invalid-definition', `${what}: give one of 'elf' and 'image', not both`);
  }
  let image: Uint8Array | undefined;
  if (key !== undefined) {
    const path = fields[key];
    delete fields[key];
    fields.program ??= 'image';
    if (typeof path !== 'string' || fields.program !== 'image') {
      throw new MigrationError(
        'invalid-definition',
        `${what}: '${key}' is the path of an ELF file and goes with program 'image' (or none named)`,
      );
    }
    image = await readImage(resolve(file === '-' ? '.' : dirname(file), path));
  }
  const definition = validate(
    GuestDefinitionSchema,
    fields,
    'invalid-definition',
    what,
    describeIn(document, lines, fields),
  );
  if (definition.kind === 'embedded' && definition.program === 'image' && image === undefined) {
    throw new MigrationError(
      'invalid-definition',
      `${what}: program 'image' needs 'elf: PATH', its ELF file`,
    );
  }
  return { definition, image };
}

async function readText(file: string, stdin: Readable): Promise<string> {
  const size = file === '-' ? 0 : (await stat(file)).size;
  const bytes =
    size > MAX_DEFINITION_BYTES ? null : file === '-' ? await buffer(stdin) : await readFile(file);
  if (bytes !== null && bytes.length <= MAX_DEFINITION_BYTES) return bytes.toString('utf8');
  throw new Error(
    `it is larger than ${formatBytes(MAX_DEFINITION_BYTES)}, the most that a definition may have`,
  );
}

/** Tells what is wrong with the line that it is in, what is there, and what may be there. */
function describeIn(document: Document, lines: LineCounter, fields: Record<string, unknown>): Describe {
  return (path, message, unknown) => {
    const at = unknown[0] === undefined ? path : [...path, unknown[0]];
    const { found, line } = lookUp(document, lines, fields, at);
    const name = path.map(String).join('.');
    if (name === 'kind') message = "must be 'embedded' or 'qemu'";
    if (unknown.length > 0 && path.length === 0) {
      const { shape } = fields.kind === 'qemu' ? QemuDefinitionSchema : EmbeddedDefinitionSchema;
      message += `: a definition of that kind has ${[...Object.keys(shape), ...IMAGE_KEYS].join(', ')}`;
    }
    const is =
      unknown.length > 0 ? '' : found === undefined ? ', and is missing' : `, and is ${quoted(found)}`;
    return `line ${line}: ${name === '' ? '' : `${name}: `}${message}${is}`;
  };
}

/** What is at a path, and the line in which it begins; of what is missing that of what it is missing in. */
function lookUp(
  document: Document,
  lines: LineCounter,
  fields: Record<string, unknown>,
  path: readonly PropertyKey[],
): { found: unknown; line: number } {
  let found: unknown = fields;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const [depth, key] of path.entries()) {
    const isThere = typeof found === 'object' && found !== null && Object.hasOwn(found, key);
    found = isThere ? (found as Record<PropertyKey, unknown>)[key] : undefined;
    offset = offsetOf(document, path.slice(0, depth + 1)) ?? offset;
  }
  return { found, line: lines.linePos(offset).line };
}

function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  const key = path.at(-1)!;
  const parent = document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
  }
  const item: unknown = isSeq(parent) ? parent.items[Number(key)] : undefined;
  return isNode(item) ? item.range?.[0] : undefined;
}

function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > QUOTED_CHARACTERS ? `${text.slice(0, QUOTED_CHARACTERS)}...` : text;
}

async function readImage(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_IMAGE_BYTES) return await readFile(path);
  } catch (thrown) {
    throw new MigrationError('invalid-image', `program image ${path}: ${reasonOf(thrown)}`, {
      cause: thrown,
    });
  }
  throw new MigrationError(
    'invalid-image',
    `program image ${path}: it is larger than ${formatBytes(MAX_IMAGE_BYTES)}, the most that a VM may bring`,
  );
}

/** Words for what reading or parsing threw; the path stands before them already. */
function reasonOf(thrown: unknown): string {
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'it may not be read by this user';
  if (code === 'EISDIR') return 'it is a directory';
  if (thrown instanceof RangeError || code === 'RESOURCE_EXHAUSTION') return 'it is nested too deep';
  return message.split('\n', 1).join('').replace(/:$/, '');
}
