import type { IncomingMessage } from 'node:http';
import { isIP, isIPv6, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { MigrationError } from '../../shared/errors.js';

/**
 * Whether a request may be served as far as web pages are concerned. A browser says where a page comes from: only the agent's own
 * page, the dashboard, may ask for something; another site's must not stop guests in the name of whoever looks at it. Nor may it have
 * a name of its own point at the agent, which would make its page look like the agent's (DNS rebinding). Throws invalid-request.
 */
export function checkWebOrigin({ socket, headers }: IncomingMessage): void {
  const { origin, host = '' } = headers;
  const overTls = socket instanceof TLSSocket;
  if (origin !== undefined && origin !== `${overTls ? 'https' : 'http'}://${host}`) {
    throw new MigrationError(
      'invalid-request',
      `requests from web pages of others are refused (header Origin): only the agent's own page may ask`,
    );
  }
  // Over TLS the browser has compared the name with the certificate.
  if (overTls || isOwnName(host)) return;
  if (origin !== undefined || isLocal(socket)) {
    throw new MigrationError(
      'invalid-request',
      `without TLS the agent does not answer to the name in the header Host: another site's web page could have a name with dots ` +
        `point here; use 'localhost', the host's address or a name without dots`,
    );
  }
}

/** Names that nobody on the Internet can have point elsewhere: addresses, names below localhost, and those without a dot. */
function isOwnName(host: string): boolean {
  if (host.startsWith('[')) return isIPv6(host.slice(1, host.indexOf(']')));
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return !name.includes('.') || name.endsWith('.localhost') || isIP(name) !== 0;
}

/** Whether the caller is on this host, or comes through something on it: loopback or a unix socket. */
function isLocal({ localAddress }: Socket): boolean {
  return localAddress === undefined || /^(::1$|(::ffff:)?127\.)/.test(localAddress);
}
