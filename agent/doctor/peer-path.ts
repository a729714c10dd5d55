import { readFile } from 'node:fs/promises';
import {
  Agent as HttpAgent,
  type ClientRequest,
  type IncomingMessage,
  request as httpRequest,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { TLSSocket } from 'node:tls';
import type { PeerPath } from '../../shared/api/doctor.js';
import { MigrationError } from '../../shared/errors.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import type { NodeAddress } from '../node-address.js';
import { peerTlsOptions } from '../link/peer-identity.js';
import { descriptorOf } from '../link/socket-descriptor.js';
import { tcpPath } from '../system/system-calls.js';

/** A peer that takes longer for an answer is away, or the question did not arrive. ms */
export const ANSWER_MS = 3000;

/** Of a header of the long question: above the largest frames of Ethernet, below what HTTP servers take. bytes */
const LONG_QUESTION_BYTES = 12 * 1024;

/** What every agent answers, with nothing to prove. */
const QUESTION = '/healthz';

export interface PathFound {
  readonly path: PeerPath;
  /** When the certificate that the peer showed is over; null without TLS. */
  readonly certificateExpiresAt: Date | null;
}

/**
 * Opens a connection to a peer's agent as migrations do, and looks at the way it takes: a short question, then one that fills packets
 * as long as they can be. Where these are dropped on the way without a word, connections come about and pages never arrive. Throws what the
 * connection fails with.
 */
export async function examinePath(
  { node, url }: NodeAddress,
  tls: Credentials | null,
  signal: AbortSignal,
  answerMs = ANSWER_MS,
): Promise<PathFound> {
  const one = { keepAlive: true, maxSockets: 1 };
  const secure = url.startsWith('https:');
  const agent = secure
    ? new HttpsAgent({ ...one, ...(tls && peerTlsOptions(tls, node)) })
    : new HttpAgent(one);
  const request = secure ? httpsRequest : httpRequest;
  const ask = (headers: Record<string, string>): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
      const asked: ClientRequest = request(new URL(QUESTION, url), { agent, headers, signal: limit });
      asked.on('response', (response: IncomingMessage) => {
        const { socket } = response;
        response
          .resume()
          .on('end', () => resolve(socket))
          .on('error', reject);
      });
      asked.on('error', (error) =>
        reject(limit.aborted && !signal.aborted ? silent(node, url, answerMs) : error),
      );
      asked.end();
    });
  try {
    const socket = await ask({});
    // Now: a socket whose answer does not come is closed.
    const path = { ...(await interfaceFacts(socket)), ...tcpFacts(socket) };
    const certificateExpiresAt = expiryOf(socket);
    try {
      await ask({ 'x-padding': 'x'.repeat(LONG_QUESTION_BYTES) });
    } catch (error) {
      if (!(error instanceof MigrationError && error.code === 'timeout')) throw error;
      return { path: { ...path, largePackets: 'lost' }, certificateExpiresAt };
    }
    // Again: the long question may have taught the kernel.
    return { path: { ...path, ...tcpFacts(socket), largePackets: 'pass' }, certificateExpiresAt };
  } finally {
    agent.destroy();
  }
}

function silent(node: string, url: string, answerMs: number): MigrationError {
  return new MigrationError('timeout', `node ${node} at ${url} did not answer within ${answerMs} ms`);
}

function expiryOf(socket: Socket): Date | null {
  if (!(socket instanceof TLSSocket)) return null;
  const date = new Date(socket.getPeerCertificate().valid_to);
  return Number.isNaN(date.getTime()) ? null : date;
}

async function interfaceFacts(
  socket: Socket,
): Promise<Pick<PeerPath, 'localAddress' | 'interface' | 'interfaceMtu' | 'interfaceSpeed'>> {
  const localAddress = socket.localAddress ?? '';
  const name = interfaceOf(localAddress);
  const figure = async (file: string): Promise<number | null> => {
    if (name === null) return null;
    const text = await readFile(`/sys/class/net/${name}/${file}`, 'latin1').catch(() => '');
    return /^[1-9]\d*$/.test(text.trim()) ? Number(text) : null;
  };
  const megabits = await figure('speed');
  return {
    localAddress,
    interface: name,
    interfaceMtu: await figure('mtu'),
    interfaceSpeed: megabits === null ? null : megabits * 1e6,
  };
}

function interfaceOf(address: string): string | null {
  const found = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((each) => each.address === address),
  );
  return found?.[0] ?? null;
}

/** What TCP knows; nothing where it can't be asked. */
function tcpFacts(socket: Socket): Pick<PeerPath, 'pathMtu' | 'roundTripMs'> {
  const fd = descriptorOf(socket);
  try {
    if (fd !== null) return tcpPath(fd);
  } catch {
    // Not Linux, perhaps: the way is looked at all the same.
  }
  return { pathMtu: null, roundTripMs: null };
}
