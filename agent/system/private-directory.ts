import { stat } from 'node:fs/promises';
import { MigrationError } from '../../shared/errors.js';
import { makeSyncedDirectory } from './synced-directory.js';

const WRITABLE_BY_OTHERS = 0o022;

/**
 * Makes a directory for this process's user alone, if it is not there, and sees that nobody else can put something in its place: who
 * could write there would own guests. `what` is named in errors. Throws invalid-request.
 */
export async function makePrivateDirectory(path: string, what: string): Promise<void> {
  let found;
  try {
    await makeSyncedDirectory(path);
    found = await stat(path);
  } catch (error) {
    const text = `the ${what} ${path} can't be made: ${(error as Error).message}; name another one`;
    throw new MigrationError('invalid-request', text, { cause: error });
  }
  const { uid, mode } = found;
  const user = process.getuid!();
  if (uid !== user) {
    const text = `the ${what} ${path} belongs to user ${uid}, and this agent is user ${user}: 'chown ${user} ${path}', or name another one`;
    throw new MigrationError('invalid-request', text);
  }
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    const text = `others may write to the ${what} ${path} (mode ${(mode & 0o777).toString(8)}): 'chmod go-w ${path}', or name another one`;
    throw new MigrationError('invalid-request', text);
  }
}
