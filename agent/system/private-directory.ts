import { access, constants, stat } from 'node:fs/promises';
import { type FieldPath, MigrationError } from '../../shared/errors.js';
import { makeSyncedDirectory } from './synced-directory.js';

const WRITABLE_BY_OTHERS = 0o022;

/**
 * Makes a directory for this process's user alone, if it is not there, and sees that this one can write there and nobody else can put
 * something in its place: who could would own guests. `what` is named in errors, and the configuration's `field`. Throws invalid-request.
 */
export async function makePrivateDirectory(path: string, what: string, field: FieldPath): Promise<void> {
  const refuse = (text: string, cause?: unknown) =>
    new MigrationError('invalid-request', `${text}, or name another one`, { cause, field });
  try {
    await makeSyncedDirectory(path);
  } catch (error) {
    throw refuse(`the ${what} ${path} can't be made: ${whyNotMade((error as MigrationError).cause)}`, error);
  }
  const { uid, mode } = await stat(path);
  const user = process.getuid!();
  if (uid !== user) {
    throw refuse(
      `the ${what} ${path} belongs to user ${uid}, and this agent is user ${user}: 'chown ${user} ${path}'`,
    );
  }
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    const octal = (mode & 0o777).toString(8);
    throw refuse(`others may write to the ${what} ${path} (mode ${octal}): 'chmod go-w ${path}'`);
  }
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refuse(`the ${what} ${path} can't be written to: ${whyNotMade(error)}`, error);
  }
}

/** Reason and remedy, by the code of the system call. */
const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'something that is no directory is there; move that away',
  ENOTDIR: 'something on the way to it is no directory; correct the path',
  ENOENT: 'what it should be in takes no directories; correct the path',
  EROFS: 'its file system is read-only; mount it writable',
  ENOSPC: 'its file system is full; free room',
  EACCES: "this agent's user may not; give it the directory above",
  EPERM: "this agent's user may not; give it the directory above",
};

function whyNotMade(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? `${message}; correct the path`;
}
