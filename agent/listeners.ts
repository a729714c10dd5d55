import type { AddressInfo } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type AgentConfig, isLoopback } from '../shared/config.js';
import { MigrationError } from '../shared/errors.js';
import { Connections } from './admission/connections.js';
import { checkAccess } from './api/api-access.js';
import { createHttpServer } from './api/http-server.js';
import { API_LIMITS } from './api/limits.js';
import type { AgentService } from './api/service.js';
import { UnixListener } from './api/unix-listener.js';
import { LinkServer, type LinkServerOptions } from './link/link-server.js';
import type { LinkSettings } from './link/link-settings.js';
import { certifiedPeer } from './link/peer-identity.js';
import { reportTlsFailures } from './link/tls-failures.js';
import type { NodeCredentials } from './node-credentials.js';

export interface ListenersContext {
  readonly config: AgentConfig;
  readonly credentials: NodeCredentials;
  readonly link: LinkSettings;
  readonly logger: Logger;
  /** What clients are served. */
  readonly service: AgentService;
  /** Who takes what other nodes open. */
  readonly peers: Pick<LinkServerOptions, 'onControl' | 'authorizePages'> &
    Required<Pick<LinkServerOptions, 'authorizePageStream'>>;
}

/** Where clients and other nodes reach this agent: one HTTP server for both, at a port, a unix socket or both. */
export class Listeners {
  readonly #config: AgentConfig;
  readonly #credentials: NodeCredentials;
  readonly #logger: Logger;
  readonly #connections = new Connections(API_LIMITS);
  readonly #server: FastifyInstance;
  readonly #link: LinkServer;
  #unix: UnixListener | null = null;

  constructor({ config, credentials, link, logger, service, peers }: ListenersContext) {
    this.#config = config;
    this.#credentials = credentials;
    this.#logger = logger;
    const { tcp } = config.listen;
    const exposed = tcp !== null && !isLoopback(tcp.host);
    const known = () => new Set(Object.keys(config.peers));
    this.#server = createHttpServer({
      service,
      logger,
      connections: this.#connections,
      tls: credentials.serverOptions(),
      checkAccess: (request) => checkAccess(request, { tokens: credentials.tokens, exposed, peers: known() }),
    });
    reportTlsFailures(this.#server.server, (error, remote, count) =>
      logger.warn({ remote, count, error: error.toJSON() }, 'connection refused'),
    );
    this.#link = new LinkServer({
      ...link,
      ...peers,
      server: this.#server.server,
      passOn: (socket) => this.#connections.passOn(socket),
      ...(config.tls && { certifiedPeer: (socket) => certifiedPeer(socket, known()) }),
      onRefused: (error, remote) => logger.warn({ remote, error: error.toJSON() }, 'connection refused'),
    });
  }

  /** Where the agent serves, with the port that it got: that of the unix socket where there is no port. */
  get url(): string {
    const { listen, tls } = this.#config;
    if (listen.tcp === null) return `unix:${listen.unix?.path ?? ''}`;
    const { address, port, family } = this.#server.server.address() as AddressInfo;
    return `${tls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** How many are connected. */
  get connections(): { readonly api: number; readonly link: number } {
    return { api: this.#connections.count, link: this.#link.connections };
  }

  /** Throws invalid-request where an address can't be had. */
  async listen(): Promise<void> {
    const { tcp, unix } = this.#config.listen;
    if (tcp) await this.#listenTo(tcp);
    else await this.#server.ready();
    if (unix) {
      const event = this.#config.tls ? 'secureConnection' : 'connection';
      this.#unix = await UnixListener.listen(unix.path, (socket) => this.#server.server.emit(event, socket));
    }
    this.#logger.info({ url: this.url, ...(unix && { socket: unix.path }) }, 'agent is serving');
  }

  async #listenTo({ host, port }: { host: string; port: number }): Promise<void> {
    try {
      await this.#server.listen({ host, port });
    } catch (error) {
      const reason =
        (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'is in use' : (error as Error).message;
      const text = `the address ${host}:${port} can't be listened on: it ${reason}; choose another one as 'listen'`;
      throw new MigrationError('invalid-request', text, { cause: error, field: ['listen'] });
    }
  }

  /** Shows the certificate that was read last to who connects from now on. */
  renewCertificate(): void {
    const options = this.#credentials.serverOptions();
    if (options) (this.#server.server as unknown as TlsServer).setSecureContext(options);
  }

  /** Other nodes first: clients are served until the guests have ended. */
  async closeLink(): Promise<void> {
    await this.#link.close();
  }

  async close(): Promise<void> {
    const unixClosed = this.#unix?.close(this.#server.server);
    await this.#server.close();
    await unixClosed;
  }
}
