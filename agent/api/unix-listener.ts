import { once } from 'node:events';
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { type Server as HttpServer } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { MigrationError } from '../../shared/errors.js';

/** What keeps all but the agent's own user from a socket that is made. */
const SOCKET_UMASK = 0o177;

/** A unix socket whose connections an HTTP server serves like its own. The socket's mode is who may use it: the agent's user, and root. */
export class UnixListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /**
   * Listens at `path`, whose directory is made where it is missing; a socket that an agent has left there that is gone is replaced.
   * `deliver` takes each connection. Throws invalid-request where something else is there, or the socket can't be made.
   */
  static async listen(path: string, deliver: (socket: Socket) => void): Promise<UnixListener> {
    await clear(path);
    const listener = new UnixListener(deliver);
    const listening = once(listener.#server, 'listening');
    const umask = process.umask(SOCKET_UMASK);
    try {
      // Makes the socket before it returns, so that it never has another mode.
      listener.#server.listen(path);
    } finally {
      process.umask(umask);
    }
    try {
      await listening;
    } catch (error) {
      throw cannotListen(path, (error as Error).message, 'choose another path', error);
    }
    return listener;
  }

  private constructor(deliver: (socket: Socket) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      deliver(socket);
    });
  }

  /** Takes no more, removes the socket, and waits for requests under way at `server`, which is being closed. */
  async close(server: Pick<HttpServer, 'closeIdleConnections'>): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    server.closeIdleConnections();
    // To the HTTP server a connection that has asked nothing yet is not idle.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    await closed;
  }
}

async function clear(path: string): Promise<void> {
  let found;
  try {
    found = await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return await makeDirectory(path);
    throw cannotListen(path, (error as Error).message, 'choose another path', error);
  }
  if (!found.isSocket())
    throw cannotListen(path, 'something else is there', 'remove it, or choose another path');
  if (await isServed(path)) {
    throw cannotListen(path, 'another program serves it', 'end that program, or choose another path');
  }
  await unlink(path);
}

/** One directory, not those above it: one of /run is gone with each boot, and a path that is wrong is to be told of. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { mode: 0o755 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw cannotListen(path, (error as Error).message, 'make its directory, or choose another path', error);
  }
}

async function isServed(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw cannotListen(path, (error as Error).message, 'remove it, or choose another path', error);
  } finally {
    socket.destroy();
  }
}

function cannotListen(path: string, reason: string, remedy: string, cause?: unknown): MigrationError {
  const text = `the unix socket ${path} can't be listened on: ${reason}; ${remedy}`;
  return new MigrationError('invalid-request', text, { cause, field: ['listen'] });
}
