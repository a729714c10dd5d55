import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { MigrationError } from '../../shared/errors.js';
import { makePrivateDirectory } from '../system/private-directory.js';
import { lockFile } from '../system/system-calls.js';

/** Holds a state directory; released when the process ends, however it does. */
export interface StateDirectoryLock {
  release(): Promise<void>;
}

/**
 * Creates the state directory if need be, and takes it for this agent alone: two agents that own the same VMs would be
 * two owners. There are two locks, which Linux frees with the process, so that a killed agent leaves nothing to clear away: an
 * abstract unix socket named after the directory, and a lock of the directory itself, which holds between containers and network
 * namespaces as well and needs system calls that not every platform has. Throws wrong-state if another agent has it, and what
 * makePrivateDirectory() does.
 */
export async function lockStateDirectory(directory: string): Promise<StateDirectoryLock> {
  await makePrivateDirectory(directory, 'state directory');
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    if (!lockIfPossible(fd)) throw taken(directory);
    const server = await listen(directory);
    return {
      release: async () => {
        await new Promise<void>((resolve) => server.close(() => resolve()));
        closeSync(fd);
      },
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** False where another process has it. */
function lockIfPossible(fd: number): boolean {
  try {
    return lockFile(fd);
  } catch (error) {
    if (error instanceof MigrationError && error.code === 'unsupported-guest') return true;
    throw error;
  }
}

async function listen(directory: string): Promise<Server> {
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
    throw taken(directory, error);
  }
  return server;
}

function taken(directory: string, cause?: unknown): MigrationError {
  const text = `another agent has the state directory ${directory}: stop it, or give this one a directory of its own`;
  return new MigrationError('wrong-state', text, { cause });
}
