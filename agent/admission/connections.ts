import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { MigrationError } from '../../shared/errors.js';
import { CountByParty, remoteParty } from './remote-address.js';

/** Bounds of what is connected to an agent's port and has not been let into the peer link. */
export interface ConnectionLimits {
  /** Connections, of all addresses. Beyond it the one that has done nothing for the longest makes room. */
  readonly connections: number;
  /** Connections of one remote address (IPv6: one /64 network); more are refused. */
  readonly connectionsPerAddress: number;
  /** Connections beyond these limits that are told so, all at once; the rest is just closed. */
  readonly refusedConnections: number;
  /** For how long they are told. ms */
  readonly refusalMs: number;
  /** From the moment at which an answer is complete until the client has taken it. ms */
  readonly responseTimeoutMs: number;
}

interface Entry {
  /** Requests that are being answered. */
  requests: number;
  readonly leave: () => void;
}

/**
 * The connections to one HTTP server: who may have how many, and who makes room. A stranger can open as many as it likes: what
 * it gets of the agent is bounded, and others still get in. One that is upgraded is the peer link's, which has limits of its own.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  /** Those that have done nothing for the longest first. */
  readonly #entries = new Map<Socket, Entry>();
  readonly #refused = new Map<Socket, MigrationError>();
  readonly #parties = new CountByParty();
  /** Sockets of a server with TLS whose handshake is going on, by the address of their other end. */
  readonly #handshaking = new Map<string, Socket>();
  #closing = false;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Connections that are counted. */
  get count(): number {
    return this.#entries.size;
  }

  watch(server: Server): void {
    const secure = server instanceof HttpsServer;
    server.on('connection', (socket: Socket) => {
      if (secure) this.#handshake(socket);
      this.#enter(socket);
    });
    server.on('secureConnection', (socket: Socket) => this.#secured(socket));
    // Before the request is answered, which may be at once.
    server.prependListener('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#answering(request, response),
    );
  }

  /** Why that connection is one too many, if it is. */
  refusalOf(socket: Socket): MigrationError | undefined {
    return this.#refused.get(socket);
  }

  /** It is the peer link's from now on. Throws limit-exceeded if it is one too many. */
  passOn(socket: Socket): void {
    const refusal = this.refusalOf(socket);
    if (refusal) throw refusal;
    this.#entries.get(socket)?.leave();
  }

  /**
   * Ends those that have not sent a byte, and any that comes later: clients open them ahead, and to Node.js they are not idle, so that
   * its close() would wait a minute for each.
   */
  closeSilent(): void {
    this.#closing = true;
    for (const socket of this.#entries.keys()) if (socket.bytesRead === 0) socket.destroy();
    for (const socket of this.#refused.keys()) socket.destroy();
  }

  #enter(socket: Socket): void {
    if (this.#closing) {
      socket.destroy();
      return;
    }
    const party = remoteParty(socket.remoteAddress);
    const { connections, connectionsPerAddress } = this.#limits;
    if (this.#parties.of(party) >= connectionsPerAddress) {
      this.#refuse(socket, `${party} has ${connectionsPerAddress} connections to this agent`);
      return;
    }
    if (this.#entries.size >= connections && !this.#makeRoom()) {
      this.#refuse(socket, `this agent has ${connections} connections that are all in use`);
      return;
    }
    this.#count(socket);
  }

  #count(socket: Socket): void {
    const uncount = this.#parties.add(remoteParty(socket.remoteAddress));
    const leave = () => {
      uncount();
      this.#entries.delete(socket);
      socket.off('close', leave);
    };
    this.#entries.set(socket, { requests: 0, leave });
    socket.once('close', leave);
  }

  #handshake(socket: Socket): void {
    const endpoint = endpointOf(socket);
    this.#handshaking.set(endpoint, socket);
    socket.once('close', () => {
      if (this.#handshaking.get(endpoint) === socket) this.#handshaking.delete(endpoint);
    });
  }

  /** Over TLS a connection is another object once its handshake is over, which takes the place of the first. */
  #secured(socket: Socket): void {
    const raw = this.#handshaking.get(endpointOf(socket));
    if (!raw) return;
    const refusal = this.#refused.get(raw);
    if (refusal) {
      this.#refused.set(socket, refusal);
      socket.once('close', () => this.#refused.delete(socket));
      return;
    }
    this.#handshaking.delete(endpointOf(socket));
    this.#entries.get(raw)?.leave();
    this.#count(socket);
  }

  /** Ends the one that has done nothing for the longest. False if all are being answered. */
  #makeRoom(): boolean {
    for (const [socket, { requests, leave }] of this.#entries) {
      if (requests > 0) continue;
      leave();
      socket.destroy();
      return true;
    }
    return false;
  }

  #refuse(socket: Socket, reason: string): void {
    const { refusedConnections, refusalMs } = this.#limits;
    if (this.#refused.size >= refusedConnections) {
      socket.destroy();
      return;
    }
    const text = `${reason}, the most it allows: close some, or try again later`;
    this.#refused.set(socket, new MigrationError('limit-exceeded', text));
    const timer = setTimeout(() => socket.destroy(), refusalMs);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#refused.delete(socket);
    });
  }

  #answering({ socket }: IncomingMessage, response: ServerResponse): void {
    const entry = this.#entries.get(socket);
    if (entry) entry.requests += 1;
    let timer: NodeJS.Timeout | undefined;
    response.once('prefinish', () => {
      // A client that is gone by then needs no limit.
      if (!socket.destroyed) timer = setTimeout(() => socket.destroy(), this.#limits.responseTimeoutMs);
    });
    response.once('close', () => {
      clearTimeout(timer);
      if (!entry || this.#entries.get(socket) !== entry) return;
      entry.requests -= 1;
      // To the end of those that wait for their turn to make room.
      this.#entries.delete(socket);
      this.#entries.set(socket, entry);
    });
  }
}

function endpointOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
