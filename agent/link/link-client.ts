import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import type { Connection } from './connection.js';
import { sourceControl } from './control-channel.js';
import type { HeartbeatOptions } from './heartbeat.js';
import { greetTarget, type Handshake, type SourceHandshakeOptions } from './hello.js';
import { CONTROL_PATH, MAX_CONTROL_PAYLOAD, MAX_PAGES_PAYLOAD, PAGES_PATH } from './link-paths.js';
import type { SourceControl } from './link.js';
import { PAGE_TOKEN_HEADER } from './page-token.js';
import { dialFailure, peerTlsOptions } from './peer-identity.js';
import { refusalOf } from './upgrade-refusal.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { WsConnection } from './ws-connection.js';

/** Time for the TCP connection and the WebSocket handshake. ms */
export const CONNECT_TIMEOUT_MS = 5000;

/** Longest answer that is read of a peer that refuses to upgrade: its error, not a web page. */
const MAX_REFUSAL_BYTES = 16 * 1024;

export interface PeerAddress {
  /** Id of the node, named in errors. */
  to: string;
  /** Where its agent serves: http://HOST:PORT or https://... */
  url: string;
  /** What this node shows, and the CA whose certificate of node `to` the peer must show; null: no TLS. */
  tls?: Credentials | null;
  connectTimeoutMs?: number;
  heartbeat?: HeartbeatOptions;
  timers?: Timers;
  signal?: AbortSignal;
}

export type DialControlOptions = PeerAddress & SourceHandshakeOptions;

/**
 * Opens a control connection and does the handshake. Throws peer-unreachable, what greetTarget throws, or the error
 * with which the peer refused.
 */
export async function dialControl(
  options: DialControlOptions,
): Promise<{ control: SourceControl; handshake: Handshake }> {
  const control = sourceControl(await open(options, CONTROL_PATH, {}, MAX_CONTROL_PAYLOAD));
  return { control, handshake: await greetTarget(control, options) };
}

/** Opens the page connections of a migration, in the order of their numbers. All or none. Throws as dialControl. */
export async function dialPageStreams(
  options: PeerAddress & { migrationId: string; streams: number; token: string },
): Promise<Connection[]> {
  const dials = Array.from({ length: options.streams }, (_, stream) =>
    open(
      options,
      `${PAGES_PATH}?migration=${options.migrationId}&stream=${stream}`,
      { [PAGE_TOKEN_HEADER]: options.token },
      MAX_PAGES_PAYLOAD,
    ),
  );
  const settled = await Promise.allSettled(dials);
  const failed = settled.find((result) => result.status === 'rejected');
  const opened = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (failed === undefined) return opened;
  for (const connection of opened) connection.close(CLOSE_DONE, 'another stream could not be opened');
  throw toMigrationError(failed.reason);
}

/** Opens one WebSocket to the peer. */
function open(
  peer: PeerAddress,
  path: string,
  headers: Record<string, string>,
  maxPayload: number,
): Promise<WsConnection> {
  const { to, url, signal, heartbeat, timers = systemTimers } = peer;
  return new Promise((resolve, reject) => {
    const unreachable = (reason: string, cause?: unknown) =>
      new MigrationError('peer-unreachable', `node ${to} cannot be reached at ${url}: ${reason}`, { cause });
    if (!/^https?:\/\//.test(url) || !URL.canParse(path, url)) {
      reject(unreachable('that is no http or https address; correct it in the configuration'));
      return;
    }
    const webSocket = new WebSocket(new URL(path, url.replace(/^http/, 'ws')), {
      ...(peer.tls && peerTlsOptions(peer.tls, to)),
      headers,
      maxPayload,
      perMessageDeflate: false,
      followRedirects: false,
      handshakeTimeout: peer.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      // Masking protects proxies from what scripts in browsers send; between agents it only costs: with a mask of
      // zero ws neither masks nor copies
      generateMask: (mask) => mask.fill(0),
    });
    let tcp: Socket | null = null;
    const abort = () => settle(toMigrationError(signal?.reason, 'cancelled'));
    const settle = (error: MigrationError) => {
      signal?.removeEventListener('abort', abort);
      reject(error);
      webSocket.terminate();
    };
    webSocket.on('upgrade', (response: IncomingMessage) => {
      tcp = response.socket;
    });
    webSocket.on('unexpected-response', (_request: ClientRequest, response: IncomingMessage) => {
      void refusal(response, to, url).then(settle);
    });
    const failed = (error: Error) => settle(dialFailure(error, unreachable));
    webSocket.on('error', failed);
    webSocket.once('open', () => {
      signal?.removeEventListener('abort', abort);
      if (tcp !== null) webSocket.off('error', failed);
      if (tcp === null) settle(unreachable('the connection has no socket'));
      else resolve(new WsConnection(webSocket, tcp, { peer: to, timers, ...(heartbeat && { heartbeat }) }));
    });
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
  });
}

/** The error of an agent that answers an upgrade request with one. */
async function refusal(response: IncomingMessage, to: string, url: string): Promise<MigrationError> {
  const text = await bodyOf(response).catch(() => '');
  return refusalOf(text, String(response.statusCode), `node ${to}`, url);
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_REFUSAL_BYTES) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
