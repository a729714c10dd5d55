import { closeSync } from 'node:fs';
import { endianness } from 'node:os';
import { datagramSocket, sendDatagram } from './system-calls.js';

const AF_UNIX = 1;

/**
 * Sends one datagram to a unix socket, `/path` or `@abstract`, as sd_notify(3) does: from the process that the service manager watches,
 * for which node has no socket. It never waits. Throws SystemCallError.
 */
export function sendToSocket(address: string, text: string): void {
  const fd = datagramSocket();
  try {
    sendDatagram(fd, Buffer.from(text), socketAddress(address));
  } finally {
    closeSync(fd);
  }
}

/** A `sockaddr_un`, see unix(7): an abstract name begins with a zero and has none at its end. */
function socketAddress(address: string): Buffer {
  const family = Buffer.alloc(2);
  if (endianness() === 'LE') family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  const name = address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`;
  return Buffer.concat([family, Buffer.from(name)]);
}
