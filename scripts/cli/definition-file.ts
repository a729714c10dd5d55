import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { type FieldPath, MigrationError, toMigrationError } from '../../shared/errors.js';
import {
  type GuestDefinition,
  GuestDefinitionSchema,
  MAX_IMAGE_BYTES,
} from '../../shared/guest-definition.js';
import { fileProblem } from '../../shared/file-problem.js';
import { formatBytes } from '../../shared/units.js';
import { YamlDocument } from '../../shared/yaml-document.js';

/** What an agent takes of a definition at most; another file that is named by mistake is not read. bytes */
const MAX_DEFINITION_BYTES = 64 * 1024;

/** Names a definition may give the path of its program image by. */
const IMAGE_KEYS = ['elf', 'image'] as const;

/** A definition with the program image that it names. */
export interface DefinedGuest {
  readonly definition: GuestDefinition;
  readonly image: Uint8Array | undefined;
  /** The error of an agent with the place in the file, where it names a field. */
  readonly located: (error: unknown) => unknown;
}

/**
 * Reads a VM definition, YAML or JSON, from a file or, for '-', from `stdin`. `elf: PATH` (or `image: PATH`) in it is
 * the program image, relative to the file. Throws invalid-definition or invalid-image, naming the file, the line and the field.
 */
export async function readDefinition(file: string, stdin: Readable): Promise<DefinedGuest> {
  const what = file === '-' ? 'standard input' : file;
  let text: string;
  try {
    text = await readText(file, stdin);
  } catch (thrown) {
    throw new MigrationError('invalid-definition', `${what}: ${fileProblem(thrown)}`, { cause: thrown });
  }
  const document = new YamlDocument(text, 'invalid-definition', what);
  const content = document.value;
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new MigrationError(
      'invalid-definition',
      `${what}: a list of fields was expected, like 'name: web-1'`,
    );
  }
  const fields = { ...(content as Record<string, unknown>) };
  const keys = IMAGE_KEYS.filter((key) => fields[key] !== undefined && fields.kind !== 'qemu');
  const [key, another] = keys;
  const refuse = (field: string, text: string) =>
    document.located(new MigrationError('invalid-definition', text, { field: [field] }));
  if (another !== undefined) throw refuse(another, `give one of 'elf' and 'image', not both`);
  let image: Uint8Array | undefined;
  if (key !== undefined) {
    const path = fields[key];
    delete fields[key];
    fields.program ??= 'image';
    if (typeof path !== 'string' || fields.program !== 'image') {
      throw refuse(key, `it must be the path of an ELF file, and goes with program 'image' (or none named)`);
    }
    try {
      image = await readImage(resolve(file === '-' ? '.' : dirname(file), path));
    } catch (error) {
      throw document.located(withField(error, [key]));
    }
  }
  const definition = document.validate(
    GuestDefinitionSchema,
    fields,
    fields.kind === 'qemu' ? [] : IMAGE_KEYS,
  );
  if (definition.kind === 'embedded' && definition.program === 'image' && image === undefined) {
    throw refuse('program', `it needs 'elf: PATH' beside it, its ELF file`);
  }
  return {
    definition,
    image,
    // To the agent the image is one, by whatever name the file has it.
    located: (error) =>
      document.located(
        error instanceof MigrationError && error.field?.[0] === 'image' && key !== undefined
          ? withField(error, [key])
          : error,
      ),
  };
}

function withField(error: unknown, field: FieldPath): MigrationError {
  const { code, message } = toMigrationError(error);
  return new MigrationError(code, message, { cause: error, field });
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

async function readImage(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_IMAGE_BYTES) return await readFile(path);
  } catch (thrown) {
    throw new MigrationError('invalid-image', `program image ${path}: ${fileProblem(thrown)}`, {
      cause: thrown,
    });
  }
  throw new MigrationError(
    'invalid-image',
    `program image ${path}: it is larger than ${formatBytes(MAX_IMAGE_BYTES)}, the most that a VM may bring`,
  );
}
