import { type DirectoryLock, lockDirectory } from '../system/directory-lock.js';
import { removeUnfinished } from '../system/write-synced.js';

/** Takes the state directory: two agents that own the same VMs would be two owners. Throws what lockDirectory() does. */
export async function lockStateDirectory(directory: string): Promise<DirectoryLock> {
  const lock = await lockDirectory(directory, 'state directory', ['stateDirectory']);
  try {
    await removeUnfinished(directory);
    return lock;
  } catch (error) {
    lock.release();
    throw error;
  }
}
