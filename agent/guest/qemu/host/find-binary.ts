import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MigrationError } from '../../../../shared/errors.js';

/** A program that can be executed. */
export interface Binary {
  readonly path: string;
  /** Changes when another version is installed. */
  readonly identity: string;
}

/** A path as it is; a name looked for in PATH. Throws unsupported-guest if there is no such program. */
export async function findBinary(binary: string): Promise<Binary> {
  const candidates = binary.includes('/')
    ? [binary]
    : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, binary));
  for (const path of candidates) {
    try {
      await access(path, constants.X_OK);
      const { mtimeMs, size } = await stat(path);
      return { path, identity: `${path} ${mtimeMs} ${size}` };
    } catch {
      continue;
    }
  }
  const text = `there is no program ${binary}: apt-get install qemu-system-x86, or name another in qemu.binary`;
  throw new MigrationError('unsupported-guest', text);
}
