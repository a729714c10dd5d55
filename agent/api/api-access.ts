import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { AccessReport } from '../../shared/api.js';
import type { ApiTokens, Role } from '../../shared/api-tokens.js';
import { MigrationError } from '../../shared/errors.js';
import { nodeOfNames } from '../../shared/tls/certificate-names.js';
import { checkCertified } from '../link/peer-identity.js';
import { checkHost } from './web-origin.js';

/** How a listener's callers are told apart. */
export interface AccessRules {
  /** Null: callers need none. */
  readonly tokens: ApiTokens | null;
  /** Whether others than users of this host can connect to the port, and connections there are to be trusted no further than they prove. */
  readonly exposed: boolean;
  /** Nodes whose certificates let them look at how this one is, so that each can show all of the cluster. */
  readonly peers: ReadonlySet<string>;
}

/** What a peer's certificate opens without a token. Consoles and definitions by themselves are not among it. */
const SHOWN_TO_PEERS: ReadonlySet<string> = new Set(['/v1/status', '/v1/queue']);

const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** Whoever needs to prove nothing may do everything. */
export const ANYBODY: AccessReport = { role: 'operate', holder: null };

/** Methods that change nothing. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/**
 * Whether a request may be served. Over TLS the caller has a certificate of the cluster's CA. Where tokens are configured each request has
 * one whose role covers it: `read` to look, `operate` for the rest. Over TLS to an address beyond this host a token is
 * needed in any case: a certificate alone, which every node has, operates nothing, and shows a peer only what SHOWN_TO_PEERS
 * names. Where nobody proves anything, the request must be meant for this host. Returns who asks; throws
 * unauthenticated, not-allowed, invalid-request.
 */
export function checkAccess(request: IncomingMessage, { tokens, exposed, peers }: AccessRules): AccessReport {
  const { socket, method = '', url = '' } = request;
  const overTls = socket instanceof TLSSocket;
  if (overTls) {
    const { subjectaltname } = checkCertified(socket, 'unauthenticated');
    const node = nodeOfNames(subjectaltname);
    if (method === 'GET' && SHOWN_TO_PEERS.has(url) && node !== null && peers.has(node))
      return { role: 'read', holder: node };
  }
  if (tokens === null) {
    if (!overTls && !exposed) checkHost(request);
    if (!overTls || !exposed) return ANYBODY;
    throw new MigrationError(
      'unauthenticated',
      "this agent has no tokens, without which its API serves only this host's own callers: name a file of them as 'tokens' " +
        'in its configuration, or use its unix socket',
    );
  }
  const needed: Role = READING.has(method) ? 'read' : 'operate';
  const { authorization } = request.headers;
  if (authorization === undefined) {
    throw new MigrationError(
      'unauthenticated',
      "the request has no token: send one, as 'Authorization: Bearer TOKEN'",
    );
  }
  const holder = tokens.find(BEARER.exec(authorization)?.[1] ?? '');
  if (holder === null) {
    throw new MigrationError(
      'unauthenticated',
      "the token is none of those in this agent's file of tokens: add the line of it that 'vmferry token create' printed",
    );
  }
  if (needed === 'operate' && holder.role !== 'operate') {
    throw new MigrationError(
      'not-allowed',
      `the token of ${holder.name} has the role '${holder.role}', and this needs 'operate': use another token`,
    );
  }
  return { role: holder.role, holder: holder.name };
}
