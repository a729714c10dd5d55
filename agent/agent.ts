import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { AgentConfig } from '../shared/config.js';
import { MigrationError } from '../shared/errors.js';
import type { AgentService } from './api/service.js';
import { LOCK_DISABLED, WITHOUT_TLS } from './doctor/node-doctor.js';
import type { GuestKinds } from './guest/hosted-guest.js';
import { linkSettings } from './link/link-settings.js';
import { Listeners } from './listeners.js';
import { AgentMetrics } from './metrics/agent-metrics.js';
import { NodeCredentials } from './node-credentials.js';
import { NodeMigrations } from './node-migrations.js';
import { NodeService } from './node-service.js';
import { NodeState } from './node-state.js';

/** One node's agent: what it keeps, what moves its guests, what it offers, and where it is reached, wired together. */
export class Agent {
  /** What its clients are served, without HTTP. */
  readonly service: AgentService;
  readonly #config: AgentConfig;
  readonly #logger: Logger;
  readonly #credentials: NodeCredentials;
  readonly #state: NodeState;
  readonly #migrations: NodeMigrations;
  readonly #listeners: Listeners;
  /** Ends what is asked of other nodes beside migrations, and refuses what would begin. */
  readonly #ending = new AbortController();
  #closing: Promise<void> | null = null;

  /** Opens the state directory, reads what is there, and serves. */
  static async start(
    config: AgentConfig,
    logger: Logger,
    kinds?: GuestKinds,
    now: () => number = Date.now,
  ): Promise<Agent> {
    const credentials = new NodeCredentials(config);
    const state = await NodeState.open(config, logger, kinds);
    try {
      const agent = new Agent(config, logger, credentials, state, now);
      // Before anybody can be faster: they were asked for first.
      await agent.#migrations.requests.restore();
      await agent.#listeners.listen();
      agent.#migrations.startSettling();
      return agent;
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  private constructor(
    config: AgentConfig,
    logger: Logger,
    credentials: NodeCredentials,
    state: NodeState,
    now: () => number,
  ) {
    if (config.lock.disabledForBenchmark === true) logger.warn(LOCK_DISABLED.message);
    if (config.insecurePlaintext) logger.warn(WITHOUT_TLS.message);
    const { signal } = this.#ending;
    // Each question has one, and many are asked at once.
    setMaxListeners(0, signal);
    const link = linkSettings(config);
    const metrics = new AgentMetrics();

    const migrations = new NodeMigrations({
      ...{ config, logger, credentials, state, link, signal },
      metrics: metrics.migrations,
    });
    const service = new NodeService({
      ...{ config, logger, credentials, state, migrations, metrics, signal, now },
      url: () => this.url,
      connections: () => this.#listeners.connections,
    });
    const { incoming, offers } = migrations;
    this.#listeners = new Listeners({
      ...{ config, logger, credentials, link, service },
      peers: {
        onControl: (control, handshake) => incoming.accept(control, handshake),
        authorizePages: (id, stream, token, peer) => incoming.authorizePages(id, stream, token, peer),
        authorizePageStream: (id, stream, token, peer) => offers.authorize(id, stream, token, peer),
      },
    });
    this.#config = config;
    this.#logger = logger;
    this.#credentials = credentials;
    this.#state = state;
    this.#migrations = migrations;
    this.service = service;
  }

  /** Where the agent serves, with the port that it got: that of the unix socket where there is no port. */
  get url(): string {
    return this.#listeners.url;
  }

  /** Makes ready what the first migration would have to wait for. */
  warmUp(): void {
    this.#migrations.warmUp();
  }

  /** Takes new certificates and tokens from the files that the configuration names. Throws invalid-request: the former ones stay. */
  reloadCredentials(): void {
    this.#credentials.read();
    this.#listeners.renewCertificate();
    this.#logger.info('certificates and tokens were read again');
  }

  /**
   * Shuts down: waiting migrations are left to the next run, running ones finished or cancelled as configured, guests that live
   * in this process ended. Says of each what became of it. Harmless when repeated.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { node, shutdown } = this.#config;
    this.#logger.info({ policy: shutdown.migrations }, 'shutting down');
    this.#ending.abort(new MigrationError('shutting-down', `node ${node} is shutting down`));
    await this.#migrations.end(shutdown);
    await this.#listeners.closeLink();
    await this.#migrations.close();
    const ended = await this.#state.guests.store.close();
    if (ended.length > 0) this.#logger.warn({ vms: ended }, 'VMs that live in this agent ended with it');
    await this.#listeners.close();
    await this.#state.close();
    this.#logger.info('agent has shut down');
  }
}
