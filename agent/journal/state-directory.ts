import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import { createServer } from 'node:net';
import { MigrationError } from '../../shared/errors.js';
import { makePrivateDirectory } from '../system/private-directory.js';

/** Holds a state directory; released when the process ends, however it does. */
export interface StateDirectoryLock {
  release(): Promise<void>;
}

/**
 * Creates the state directory if need be, and takes it for this agent alone: two agents that own the same VMs would be
 * two owners. The lock is an abstract unix socket named after the directory, which Linux frees with the process, so
 * that a killed agent leaves nothing to clear away. Throws wrong-state if another agent has it, and what makePrivateDirectory() does.
 */
export async function lockStateDirectory(directory: string): Promise<StateDirectoryLock> {
  await makePrivateDirectory(directory, 'state directory');
  const name = createHash('sha256')
    .update(await realpath(directory))
    .digest('hex');
  const server = createServer((socket) => socket.destroy());
  server.unref();
  try {
    server.listen(`\0vmferry-state-${name}`);
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const text = `another agent has the state directory ${directory}: stop it, or give this one a directory of its own`;
    throw new MigrationError('wrong-state', text, { cause: error });
  }
  return {
    release: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
