import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Connection, ConnectionEnd } from '../../agent/link/connection.js';
import type { Handshake } from '../../agent/link/hello.js';
import { LinkServer, type LinkServerOptions } from '../../agent/link/link-server.js';
import type { TargetControl } from '../../agent/link/link.js';
import { isPageToken } from '../../agent/link/page-token.js';
import { MigrationError } from '../../shared/errors.js';
import { type Credentials, secureContext } from '../../shared/tls/credentials.js';

export const MIGRATION = 'm-test-0001';
export const TOKEN = 'a-page-token';

/** A link server on a loopback port, with what arrived at it. */
export interface Endpoint {
  url: string;
  link: LinkServer;
  controls: { control: TargetControl; handshake: Handshake }[];
  pages: { stream: number; connection: Connection }[];
  /** Resolves when the next control connection is welcomed. */
  nextControl(): Promise<{ control: TargetControl; handshake: Handshake }>;
  /** Resolves when the next connection or handshake is refused. */
  nextRefused(): Promise<MigrationError>;
  /** Resolves once so many connections are left. */
  connectionsLeft(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** `tls`: what it shows and asks for; without, it serves plain. */
export async function startEndpoint(
  options: Partial<LinkServerOptions> = {},
  tls: Credentials | null = null,
): Promise<Endpoint> {
  const answer: RequestListener = (_request, response) => response.end('not upgraded');
  const server = tls
    ? createTlsServer({ ...secureContext(tls), requestCert: true, rejectUnauthorized: false }, answer)
    : createServer(answer);
  const waiting: ((arrived: { control: TargetControl; handshake: Handshake }) => void)[] = [];
  const waitingRefused: ((error: MigrationError) => void)[] = [];
  const endpoint: Omit<Endpoint, 'url' | 'link' | 'stop' | 'connectionsLeft'> = {
    controls: [],
    pages: [],
    nextControl: () => new Promise((resolve) => waiting.push(resolve)),
    nextRefused: () => new Promise((resolve) => waitingRefused.push(resolve)),
  };
  const link = new LinkServer({
    server,
    node: 'node-b',
    agent: 'test agent',
    onControl: (control, handshake) => {
      endpoint.controls.push({ control, handshake });
      waiting.shift()?.({ control, handshake });
    },
    authorizePages: (migration, stream, token) => {
      if (migration !== MIGRATION || !isPageToken(TOKEN, token)) {
        throw new MigrationError('not-found', 'no such migration waits for pages');
      }
      return (connection) => endpoint.pages.push({ stream, connection });
    },
    onRefused: (error) => waitingRefused.shift()?.(error),
    ...options,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    ...endpoint,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    link,
    connectionsLeft: async (count) => {
      while (link.connections !== count) await new Promise((resolve) => setImmediate(resolve));
    },
    stop: async () => {
      await link.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function ended(connection: { onClose(listener: (end: ConnectionEnd) => void): void }) {
  return new Promise<ConnectionEnd>((resolve) => connection.onClose(resolve));
}
