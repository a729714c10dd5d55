import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { makePrivateDirectory } from '../system/private-directory.js';
import { lockFile } from '../system/system-calls.js';
import { removeUnfinished } from '../system/write-synced.js';

const FIELD = ['stateDirectory'];

/** Holds a state directory; released when the process ends, however it does. */
export interface StateDirectoryLock {
  release(): void;
}

/**
 * Creates the state directory if need be, and takes it for this agent alone: two agents that own the same VMs would be
 * two owners. The lock is one of the directory itself, so that it holds between containers and network namespaces as well, and nobody
 * who may not open the directory can take it; Linux frees it with the process, so that a killed agent leaves nothing to clear away.
 * Throws wrong-state if another agent has it, and what makePrivateDirectory() does.
 */
export async function lockStateDirectory(directory: string): Promise<StateDirectoryLock> {
  await makePrivateDirectory(directory, 'state directory', FIELD);
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    if (!lock(fd, directory)) throw taken(directory, holderOf(fd));
    await removeUnfinished(directory);
    return { release: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** False where another process has it. */
function lock(fd: number, directory: string): boolean {
  try {
    return lockFile(fd);
  } catch (cause) {
    const text = `the state directory ${directory} can't be locked: ${toMigrationError(cause).message}`;
    throw new MigrationError('invalid-request', text, { cause, field: FIELD });
  }
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

function taken(directory: string, holder: number | null): MigrationError {
  const who = holder === null ? 'another agent' : `another agent (pid ${holder})`;
  const text = `${who} has the state directory ${directory}: stop it, or give this one a directory of its own`;
  return new MigrationError('wrong-state', text, { field: FIELD });
}
