import type { ServerOptions } from 'node:https';
import type { X509Certificate } from 'node:crypto';
import { constants } from 'node:crypto';
import { ApiTokens } from '../shared/api-tokens.js';
import type { AgentConfig } from '../shared/config.js';
import type { PreflightFinding } from '../shared/protocol/messages.js';
import { CA_EXPIRY_NOTICE_DAYS, expiryFinding } from '../shared/tls/certificate-expiry.js';
import {
  type Credentials,
  checkNodeCertificate,
  readCredentials,
  secureContext,
} from '../shared/tls/credentials.js';

/** Time for a TLS handshake; bounds what somebody who shows no certificate can hold. ms */
export const TLS_HANDSHAKE_TIMEOUT_MS = 5000;

/** What a node proves itself with and knows callers by: read at the start, and again on SIGHUP. Never to be logged as it is. */
export class NodeCredentials {
  readonly #config: Pick<AgentConfig, 'node' | 'tls' | 'tokens'>;
  #tls: ReturnType<typeof readCredentials> | null = null;
  #tokens: ApiTokens | null = null;

  /** Throws invalid-request, naming the file, the reason and the remedy. */
  constructor(config: Pick<AgentConfig, 'node' | 'tls' | 'tokens'>) {
    this.#config = config;
    this.read();
  }

  get tls(): Credentials | null {
    if (!this.#tls) return null;
    const { certificate, key, ca } = this.#tls;
    return { certificate, key, ca };
  }

  /** When the node's certificate is over; null without TLS. */
  get expiresAt(): Date | null {
    return this.#tls && new Date(this.#tls.leaf.validTo);
  }

  get tokens(): ApiTokens | null {
    return this.#tokens;
  }

  /** Reads the files again: all of them are taken, or none. Throws as the constructor. */
  read(): void {
    const { node, tls: files, tokens } = this.#config;
    let tls = null;
    if (files) {
      tls = readCredentials(files, { certificate: "'tls.certificate'", key: "'tls.key'", ca: "'tls.ca'" });
      checkNodeCertificate(tls.leaf, node, files.certificate);
    }
    const read = tokens === undefined ? null : ApiTokens.read(tokens);
    this.#tls = tls;
    this.#tokens = read;
  }

  /** With what the port is served, from its start on or, as it is now, from here on; null: without TLS. */
  serverOptions(): ServerOptions | null {
    const { tls } = this;
    return (
      tls && {
        ...secureContext(tls),
        requestCert: true,
        // Who shows none, or another CA's, is told so by an answer of HTTP; see checkCertified().
        rejectUnauthorized: false,
        handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
        // No session is taken up again: each connection shows its certificate anew.
        secureOptions: constants.SSL_OP_NO_TICKET,
      }
    );
  }

  /** For `doctor`. */
  findings(now: Date = new Date()): PreflightFinding[] {
    if (!this.#tls) return [];
    const { leaf, authorities } = this.#tls;
    const whose = `the certificate of node ${this.#config.node}`;
    const remedy = 'renew it, and send the agent SIGHUP';
    const ofCa =
      "put a new CA beside it in 'tls.ca' of all nodes, then give each a certificate of the new one, then take the old one out";
    return [
      expiryFinding(whose, new Date(leaf.validTo), remedy, { now }),
      ...authorities.map((each) =>
        expiryFinding(`the CA ${subjectOf(each)}`, new Date(each.validTo), ofCa, {
          now,
          noticeDays: CA_EXPIRY_NOTICE_DAYS,
        }),
      ),
    ];
  }
}

function subjectOf({ subject }: X509Certificate): string {
  return `'${subject.replaceAll('\n', ', ').slice(0, 100)}'`;
}
