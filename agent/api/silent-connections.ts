import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Keeps track of connections to `server` that have not sent a byte: clients open them ahead, and to Node.js they are
 * not idle, so that its close() would wait a minute for each. The function that it returns destroys them, those that
 * come later too. Every other connection is Node's to close, or the peer link's.
 */
export function trackSilentConnections(server: Server): () => void {
  const connections = new Set<Socket>();
  let closing = false;
  const track = (socket: Socket) => {
    if (closing) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  };
  // Over TLS a connection is there twice: while its handshake lasts, and after it.
  server.on('connection', track);
  server.on('secureConnection', track);
  return () => {
    closing = true;
    for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
  };
}
