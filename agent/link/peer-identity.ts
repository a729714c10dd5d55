import type { Socket } from 'node:net';
import { type ConnectionOptions, type PeerCertificate, TLSSocket } from 'node:tls';
import { type ErrorCode, MigrationError, outOfDescriptors } from '../../shared/errors.js';
import { certificateTitle, nodeOfNames } from '../../shared/tls/certificate-names.js';
import { type Credentials, secureContext } from '../../shared/tls/credentials.js';
import { tlsReason } from '../../shared/tls/tls-reason.js';

/** Throws `code` unless who has connected has shown a certificate of the cluster's CA that is valid now. */
export function checkCertified(socket: TLSSocket, code: ErrorCode): PeerCertificate {
  // Without one it is an empty object.
  const certificate = socket.getPeerCertificate() as PeerCertificate | Record<string, never>;
  if (socket.authorized) return certificate as PeerCertificate;
  if (Object.keys(certificate).length === 0) {
    throw new MigrationError(
      code,
      "the connection showed no certificate: give one of this cluster's CA (--certificate and --key, or 'tls' of an agent)",
    );
  }
  // Node.js keeps the code of what the verification said there, whatever its type says.
  const reason = socket.authorizationError as unknown;
  const words = tlsReason({ code: reason }) ?? `it can't be verified (${String(reason)})`;
  const title = certificateTitle(certificate.subject);
  throw new MigrationError(code, `the certificate ${title} of the caller is refused: ${words}`);
}

/**
 * The node that a connection is certified for, which must be among the peers. Throws peer-untrusted: no connection but one over TLS
 * with such a certificate is a peer's.
 */
export function certifiedPeer(socket: Socket, peers: ReadonlySet<string>): string {
  if (!(socket instanceof TLSSocket)) {
    throw new MigrationError(
      'peer-untrusted',
      'peers connect over TLS here: use the https address of this agent',
    );
  }
  const certificate = checkCertified(socket, 'peer-untrusted');
  const node = nodeOfNames(certificate.subjectaltname);
  const title = certificateTitle(certificate.subject);
  if (node === null) {
    throw new MigrationError(
      'peer-untrusted',
      `the certificate ${title} names no node: peers need one with a name like URI:vmferry:node:ID`,
    );
  }
  if (peers.has(node)) return node;
  throw new MigrationError(
    'peer-untrusted',
    `node ${node} is not among the peers here: add it to 'peers' in the configuration`,
  );
}

/** What to dial node `to` with: its certificate must be of the cluster's CA and name that node, whatever its address. */
export function peerTlsOptions(credentials: Credentials, to: string): ConnectionOptions {
  return {
    ...secureContext(credentials),
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => {
      const node = nodeOfNames(certificate.subjectaltname);
      if (node === to) return undefined;
      const title = certificateTitle(certificate.subject);
      const found = node === null ? `names no node` : `is that of node ${node}`;
      return new MigrationError(
        'wrong-node',
        `the certificate ${title} that answers where node ${to} was meant ${found}: ` +
          "correct the peer's address in the configuration, or that node's certificate",
      );
    },
  };
}

/** Why a peer can't be reached, of whatever its connection failed with. */
export function dialFailure(error: Error, unreachable: (reason: string, cause: unknown) => MigrationError) {
  if (error instanceof MigrationError) return error;
  const reason = tlsReason(error);
  if (reason === undefined) {
    const failure = unreachable(reasonOf(error), error);
    return outOfDescriptors(error, failure.message) ?? failure;
  }
  const { message } = unreachable(reason, error);
  return new MigrationError('peer-untrusted', message, { cause: error });
}

function reasonOf(error: Error): string {
  // a name with several addresses fails with one error for each and no message of its own
  if (error instanceof AggregateError) return error.errors.map((each: Error) => each.message).join('; ');
  return error.message;
}
