import type { RequestInit as DispatchedInit } from 'undici';
import { isLoopback } from '../shared/config.js';
import { MigrationError } from '../shared/errors.js';
import { readCredentials, readNamed, readSecret, secureContext } from '../shared/tls/credentials.js';

/** How the command line proves itself to agents: paths of files. */
export interface AccessOptions {
  readonly tokenFile?: string | undefined;
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** fetch() as AgentClient uses it, to the agent that `url` names. */
export interface AgentConnection {
  /** What paths are appended to. */
  readonly base: string;
  fetch(url: string, init: RequestInit): Promise<Response>;
}

/**
 * The way to an agent: over TCP, a unix socket (`unix:/path`), TLS with a certificate of ours. Nothing is read or sent before the first
 * request. Its fetch() throws invalid-request where a file can't be used, or a token would go over a network in the clear.
 */
export function connectionTo(url: string, access: AccessOptions = {}): AgentConnection {
  let ready: Promise<(url: string, init: RequestInit) => Promise<Response>> | undefined;
  return {
    base: url.startsWith('unix:') ? 'http://unix' : url,
    fetch: async (target, init) => await (await (ready ??= open(url, access)))(target, init),
  };
}

async function open(url: string, access: AccessOptions) {
  const authorization = authorizationOf(url, access.tokenFile);
  const withToken = (init: RequestInit): RequestInit =>
    authorization === null
      ? init
      : { ...init, headers: { ...(init.headers as Record<string, string> | undefined), authorization } };
  if (url.startsWith('http:')) return (target: string, init: RequestInit) => fetch(target, withToken(init));
  // Loaded here alone: what Node.js has built in can neither show a certificate nor use a unix socket.
  const { Agent, fetch: dispatchedFetch } = await import('undici');
  const dispatcher = new Agent({
    connect: url.startsWith('unix:') ? { socketPath: url.slice('unix:'.length) } : tlsOf(access),
    // One request a connection: no process waits at its end for connections that are kept.
    pipelining: 0,
  });
  return async (target: string, init: RequestInit) =>
    await dispatchedFetch(target, {
      ...(withToken(init) as unknown as DispatchedInit),
      dispatcher,
    });
}

function tlsOf({ ca, certificate, key }: AccessOptions): object {
  if (certificate === undefined && key === undefined) {
    if (ca === undefined) return { minVersion: 'TLSv1.3' };
    const text = readNamed({ what: `the CA certificate ${ca} (--ca)`, path: ca });
    return { ca: text, minVersion: 'TLSv1.3' };
  }
  if (ca === undefined || certificate === undefined || key === undefined) {
    throw new MigrationError(
      'invalid-request',
      'an agent with TLS is asked with a CA, a certificate and its key: give all of --ca, --certificate and --key ' +
        '(or VMFERRY_CA, VMFERRY_CERTIFICATE, VMFERRY_KEY)',
    );
  }
  const options = { ca: '--ca', certificate: '--certificate', key: '--key' };
  return secureContext(readCredentials({ ca, certificate, key }, options));
}

function authorizationOf(url: string, tokenFile: string | undefined): string | null {
  if (tokenFile === undefined) return null;
  const file = { what: `the token file ${tokenFile} (--token-file or VMFERRY_TOKEN_FILE)`, path: tokenFile };
  const token = readSecret(file).trim();
  if (!/^[A-Za-z0-9._~+/-]{16,200}$/.test(token)) {
    throw new MigrationError(
      'invalid-request',
      `${file.what} has no token: it must have one and nothing else, as 'vmferry token create --out FILE' writes it`,
    );
  }
  if (url.startsWith('http:') && !isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''))) {
    throw new MigrationError(
      'invalid-request',
      `the token is not sent to ${url}, where everybody on the way could read it: use the agent's https address`,
    );
  }
  return `Bearer ${token}`;
}
