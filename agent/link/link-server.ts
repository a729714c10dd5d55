import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { ERROR_CODES, MigrationError, toMigrationError } from '../../shared/errors.js';
import { MigrationIdSchema } from '../../shared/names.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { MAX_STREAMS } from '../../shared/protocol/messages.js';
import { CountByParty, remoteParty } from '../admission/remote-address.js';
import type { Connection } from './connection.js';
import { targetControl } from './control-channel.js';
import type { HeartbeatOptions } from './heartbeat.js';
import { welcomeSource, type Handshake, type VersionRange } from './hello.js';
import {
  CONTROL_PATH,
  MAX_CONTROL_PAYLOAD,
  MAX_PAGES_PAYLOAD,
  PAGE_STREAM_PATH,
  PAGE_STREAM_PROTOCOL,
  PAGES_PATH,
} from './link-paths.js';
import type { TargetControl } from './link.js';
import { PayloadSiphon } from './payload-siphon.js';
import { PAGE_TOKEN_HEADER } from './page-token.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { TcpConnection } from './tcp-connection.js';
import { WsConnection } from './ws-connection.js';

export interface LinkLimits {
  /** Control connections whose handshake is not done: bounds what strangers can hold. */
  maxHandshakes: number;
  /** The same of one remote address (IPv6: one /64 network), so that a stranger leaves some to the others. */
  maxHandshakesPerAddress: number;
  /** Control connections: bounds sockets and their buffers. */
  maxControlConnections: number;
  /** The same of one remote address: a full queue of one peer, and some questions. */
  maxControlConnectionsPerAddress: number;
  /** Page connections; apart from the others, so that those who wait for the node can't shut out the one that has it. */
  maxPageConnections: number;
}

/**
 * Each of the 1024 migrations of a full queue has a control connection, and 256 more may ask something. One migration at a
 * time has page connections, up to 16; the rest are on their way out.
 */
export const DEFAULT_LINK_LIMITS: LinkLimits = {
  maxHandshakes: 64,
  maxHandshakesPerAddress: 32,
  maxControlConnections: 1280,
  maxControlConnectionsPerAddress: 1088,
  maxPageConnections: 64,
};

/** Who takes a page connection over that shows this token; `peer`: the node that it is certified for, null without TLS. */
export type AuthorizeStream = (
  migrationId: string,
  stream: number,
  token: string,
  peer: string | null,
) => (connection: Connection) => void;

export interface LinkServerOptions {
  /** The node's HTTP server; the link answers its upgrade requests. */
  server: Server;
  /** Told of each connection that asks for an upgrade: it is the link's from then on. Throws limit-exceeded where it is one too many. */
  passOn?(socket: Socket): void;
  /** Id of this node. */
  node: string;
  /** This agent's name and version, told to peers. */
  agent: string;
  features?: readonly string[];
  versions?: VersionRange;
  limits?: Partial<LinkLimits>;
  heartbeat?: HeartbeatOptions;
  handshakeTimeoutMs?: number;
  timers?: Timers;
  /** The node that a connection is certified for; throws peer-untrusted. Absent: there is no TLS, and peers are who they say. */
  certifiedPeer?(socket: Socket): string;
  /** A source has opened a control connection and was welcomed. Takes the channel over. */
  onControl(control: TargetControl, handshake: Handshake): void;
  /**
   * Whether a page connection may be opened for that stream; compare the token with isPageToken(). Returns who
   * takes the connection over; throws MigrationError (not-found where the migration or the token is wrong, without
   * telling which; wrong-state where the stream is connected already).
   */
  authorizePages: AuthorizeStream;
  /** The same for a stream over plain TCP, which the target of a migration from here opens. Absent: there are none. */
  authorizePageStream?: AuthorizeStream;
  /** A connection or handshake was refused, for the log. `remote` is its address. */
  onRefused?(error: MigrationError, remote: string): void;
}

/** The end of the peer link that accepts connections. */
export class LinkServer {
  readonly #options: LinkServerOptions;
  readonly #limits: LinkLimits;
  readonly #control = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_CONTROL_PAYLOAD,
  });
  readonly #pages = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_PAGES_PAYLOAD,
  });
  readonly #controlConnections = new Set<Connection>();
  readonly #pageConnections = new Set<Connection>();
  #handshakes = 0;
  readonly #handshakeParties = new CountByParty();
  readonly #controlParties = new CountByParty();
  #closing = false;

  /** Starts to answer the server's upgrade requests. */
  constructor(options: LinkServerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LINK_LIMITS, ...options.limits };
    options.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head));
  }

  /** Open connections of both kinds. */
  get connections(): number {
    return this.#controlConnections.size + this.#pageConnections.size;
  }

  /** Refuses new connections from now on, ends those that are left with shutting-down, and waits until they have ended. */
  async close(): Promise<void> {
    this.#closing = true;
    const ended = [...this.#controlConnections, ...this.#pageConnections].map(
      (connection) =>
        new Promise<void>((resolve) => {
          connection.onClose(() => resolve());
          connection.close(errorToCloseCode('shutting-down'), 'the agent is shutting down');
        }),
    );
    await Promise.all(ended);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const remote = socket.remoteAddress ?? 'unknown address';
    // a socket without a listener for errors would end the process
    const ignore = () => undefined;
    socket.on('error', ignore);
    try {
      this.#options.passOn?.(socket);
      const accept = this.#route(request, socket, remote);
      accept(request, socket, head);
      socket.off('error', ignore);
    } catch (thrown) {
      const error = toMigrationError(thrown);
      refuse(socket, error);
      this.#options.onRefused?.(error, remote);
    }
  }

  /** How to accept the request. Throws why not. */
  #route(
    request: IncomingMessage,
    socket: Socket,
    remote: string,
  ): (request: IncomingMessage, socket: Socket, head: Buffer) => void {
    if (this.#closing) throw new MigrationError('shutting-down', 'the agent is shutting down');
    if (request.headers.origin !== undefined) {
      // agents send none; a browser always does, and any web page could make it connect
      throw new MigrationError('invalid-request', 'the peer link is for agents, not for browsers');
    }
    const peer = this.#options.certifiedPeer?.(socket) ?? null;
    const url = URL.canParse(request.url ?? '', 'http://agent')
      ? new URL(request.url ?? '', 'http://agent')
      : null;
    if (url?.pathname === CONTROL_PATH) return this.#acceptControl(remote, peer);
    if (url?.pathname === PAGES_PATH) return this.#acceptPages(url.searchParams, request, peer);
    if (url?.pathname === PAGE_STREAM_PATH) return this.#acceptPageStream(url.searchParams, request, peer);
    throw new MigrationError('not-found', `there is no link at ${url?.pathname ?? 'that address'}`);
  }

  #acceptControl(remote: string, certified: string | null) {
    const { node, agent, features, versions, handshakeTimeoutMs, timers } = this.#options;
    const limits = this.#limits;
    const party = remoteParty(remote);
    this.#refuseMore('control connections', this.#controlConnections.size, limits.maxControlConnections);
    this.#refuseMore('handshakes going on', this.#handshakes, limits.maxHandshakes);
    const from = ` from ${remote}`;
    const { maxControlConnectionsPerAddress: control, maxHandshakesPerAddress: handshakes } = limits;
    this.#refuseMore(`control connections${from}`, this.#controlParties.of(party), control);
    this.#refuseMore(`handshakes${from} going on`, this.#handshakeParties.of(party), handshakes);
    return (request: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#control.handleUpgrade(request, socket, head, (webSocket) => {
        const connection = new WsConnection(webSocket, socket, this.#about(remote));
        const control = targetControl(entered(this.#controlConnections, connection));
        connection.onClose(this.#controlParties.add(party));
        const handshakeOver = this.#handshakeParties.add(party);
        this.#handshakes += 1;
        welcomeSource(control, {
          node,
          agent,
          certified,
          ...(features && { features }),
          ...(versions && { versions }),
          ...(handshakeTimeoutMs !== undefined && { timeoutMs: handshakeTimeoutMs }),
          timers: timers ?? systemTimers,
        })
          .finally(() => {
            this.#handshakes -= 1;
            handshakeOver();
          })
          .then(
            (handshake) => this.#options.onControl(control, handshake),
            (error: unknown) => this.#options.onRefused?.(toMigrationError(error), remote),
          )
          .catch((thrown: unknown) => {
            const error = toMigrationError(thrown);
            control.close(errorToCloseCode(error.code), error.message);
            this.#options.onRefused?.(error, remote);
          });
      });
    };
  }

  /** Whoever takes over the page connection that a request asks for, and the migration's id. Throws why it may not be had. */
  #authorized(
    query: URLSearchParams,
    request: IncomingMessage,
    peer: string | null,
    authorize: AuthorizeStream,
  ) {
    this.#refuseMore('page connections', this.#pageConnections.size, this.#limits.maxPageConnections);
    const migration = MigrationIdSchema.safeParse(query.get('migration'));
    if (!migration.success)
      throw new MigrationError(
        'invalid-request',
        'migration: must be 8 to 64 lower-case letters, digits or dashes',
      );
    const stream = /^\d{1,2}$/.test(query.get('stream') ?? '') ? Number(query.get('stream')) : MAX_STREAMS;
    if (stream >= MAX_STREAMS) {
      throw new MigrationError('invalid-request', `stream: must be 0 to ${MAX_STREAMS - 1}`);
    }
    const token = request.headers[PAGE_TOKEN_HEADER];
    const take = authorize(migration.data, stream, typeof token === 'string' ? token : '', peer);
    return { take, migration: migration.data };
  }

  /** A page stream over plain TCP: past the answer it carries frames, from here to the target. */
  #acceptPageStream(query: URLSearchParams, request: IncomingMessage, node: string | null) {
    const { authorizePageStream } = this.#options;
    if (!authorizePageStream) throw new MigrationError('not-found', 'there are no page streams here');
    if (request.headers.upgrade !== PAGE_STREAM_PROTOCOL) {
      throw new MigrationError('invalid-request', `Upgrade: must be ${PAGE_STREAM_PROTOCOL}`);
    }
    const { take, migration } = this.#authorized(query, request, node, authorizePageStream);
    return (_request: IncomingMessage, socket: Socket) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PAGE_STREAM_PROTOCOL}\r\n\r\n`,
      );
      const peer = `the target of migration ${migration}`;
      const connection = new TcpConnection(socket, peer, this.#options.timers);
      take(entered(this.#pageConnections, connection));
    };
  }

  #acceptPages(query: URLSearchParams, request: IncomingMessage, node: string | null) {
    const { authorizePages } = this.#options;
    const { take, migration } = this.#authorized(query, request, node, authorizePages);
    const peer = `the source of migration ${migration}`;
    return (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const siphon = new PayloadSiphon(socket);
      this.#pages.handleUpgrade(request, siphon, Buffer.alloc(0), (webSocket) => {
        const about = { ...this.#about(peer), siphon };
        const connection = entered(this.#pageConnections, new WsConnection(webSocket, siphon.tcp, about));
        try {
          take(connection);
        } catch (thrown) {
          // upgraded already: it is too late for an HTTP answer
          const error = toMigrationError(thrown);
          connection.close(errorToCloseCode(error.code), error.message);
        }
        siphon.feed(head);
      });
    };
  }

  #about(peer: string) {
    const { heartbeat, timers } = this.#options;
    return { peer, timers: timers ?? systemTimers, ...(heartbeat && { heartbeat }) };
  }

  #refuseMore(what: string, count: number, most: number): void {
    if (count < most) return;
    const text = `node ${this.#options.node} has ${most} ${what}, the most it allows: try again later`;
    throw new MigrationError('limit-exceeded', text);
  }
}

/** Adds a connection to a set, for as long as it is open. */
function entered<C extends Connection>(connections: Set<Connection>, connection: C): C {
  connections.add(connection);
  connection.onClose(() => connections.delete(connection));
  return connection;
}

/** Answers an upgrade request with the error, in the form of the HTTP API. */
function refuse(socket: Socket, error: MigrationError): void {
  const body = JSON.stringify({ error });
  const { status } = ERROR_CODES[error.code];
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
