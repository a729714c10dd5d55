import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { MigrationError } from '../../shared/errors.js';

/**
 * Whether a request may be served as far as web pages are concerned: a browser says where a page comes from, and only the agent's own
 * page, the dashboard, may ask. Another site's must not stop guests in the name of whoever looks at it. Throws invalid-request.
 */
export function checkOrigin({ socket, headers }: IncomingMessage): void {
  const { origin, host = '' } = headers;
  if (origin === undefined) return;
  const overTls = socket instanceof TLSSocket;
  if (origin !== `${overTls ? 'https' : 'http'}://${host}`) {
    throw new MigrationError(
      'invalid-request',
      `requests from web pages of others are refused (header Origin): only the agent's own page may ask`,
    );
  }
  // Over TLS the browser has compared the name with the certificate.
  if (!overTls && !isNoSite(nameOf(host))) throw couldBeAnySite(host);
}

/**
 * A web site can have its own name stand for an address of the agent: to the browser the agent is a part of that site then, whose pages
 * may read what they ask for, and no header Origin tells. This is for requests that prove nothing otherwise. Throws invalid-request.
 */
export function checkHost({ socket, headers: { host = '' } }: IncomingMessage): void {
  const name = nameOf(host);
  // Programs have no host to name at a unix socket, and name anything; browsers come there through ssh.
  const fine = socket.remoteAddress === undefined ? isNoSite(name) || !name.includes('.') : isNoSite(name);
  if (!fine) throw couldBeAnySite(host);
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

/** Whether it is an address, or a name that this host alone resolves. */
function isNoSite(name: string): boolean {
  return isIP(name) !== 0 || /^(.+\.)?localhost$/i.test(name);
}

function couldBeAnySite(host: string): MigrationError {
  return new MigrationError(
    'invalid-request',
    `this agent is asked as ${JSON.stringify(host)}, a name that could be any web site's: ask it by its address or as localhost, or ` +
      "give it 'tls' in its configuration",
  );
}
