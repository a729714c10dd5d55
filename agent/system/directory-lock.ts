import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { type FieldPath, MigrationError, toMigrationError } from '../../shared/errors.js';
import { makePrivateDirectory } from './private-directory.js';
import { lockFile } from './system-calls.js';

/** Holds a directory; released when the process ends, however it does. */
export interface DirectoryLock {
  release(): void;
}

/**
 * Creates a directory if need be, and takes it for this agent alone. `what` is named in errors, and the configuration's `field`. The lock
 * is one of the directory itself, so that it holds between containers and network namespaces as well, and nobody who may not open the
 * directory can take it; Linux frees it with the process, so that a killed agent leaves nothing to clear away. Throws wrong-state if
 * another agent has it, and what makePrivateDirectory() does.
 */
export async function lockDirectory(
  directory: string,
  what: string,
  field: FieldPath,
): Promise<DirectoryLock> {
  await makePrivateDirectory(directory, what, field);
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    if (lockFile(fd)) return { release: () => closeSync(fd) };
  } catch (cause) {
    closeSync(fd);
    const text = `the ${what} ${directory} can't be locked: ${toMigrationError(cause).message}`;
    throw new MigrationError('invalid-request', text, { cause, field });
  }
  const holder = holderOf(fd);
  closeSync(fd);
  const who = holder === null ? 'another agent' : `another agent (pid ${holder})`;
  const text = `${who} has the ${what} ${directory}: stop it, or give this one a directory of its own`;
  throw new MigrationError('wrong-state', text, { field });
}

/** The process that has an open file locked, as /proc/locks tells it; null where the file system has other numbers there. */
function holderOf(fd: number): number | null {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const hex = (value: bigint) => value.toString(16).padStart(2, '0');
  // As makedev(3) packs them.
  const file = `${hex((dev >> 8n) & 0xfffn)}:${hex((dev & 0xffn) | ((dev >> 12n) & ~0xffn))}:${ino}`;
  const found = readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .map((line) => line.split(/\s+/))
    .find(([, kind, , , , where]) => kind === 'FLOCK' && where === file);
  const pid = Number(found?.[4]);
  return pid > 0 ? pid : null;
}
