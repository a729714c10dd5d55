import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { Agent } from '../../agent/agent.js';
import type { GuestKinds } from '../../agent/guest/hosted-guest.js';
import type { MigrationResult } from '../../shared/api.js';
import { type AgentConfig, AgentConfigSchema } from '../../shared/config.js';
import { type EmbeddedDefinition, GuestDefinitionSchema } from '../../shared/guest-definition.js';

/** What an agent logged: one object a line. */
export interface LogLine {
  level: number;
  msg: string;
  [field: string]: unknown;
}

export interface Node {
  readonly name: string;
  readonly agent: Agent;
  readonly log: LogLine[];
}

/** Some agents in this process, on ports of loopback of their own, that know each other. */
export class Cluster {
  readonly nodes: Node[] = [];
  readonly #directory: string;
  readonly #configs = new Map<string, AgentConfig>();

  /**
   * `settings` go into the configuration of each agent, or are what it says for each node; `kinds` are the guests that they can host;
   * `clocks`: those of nodes that have another than the others, in Unix ms.
   */
  static async start(
    names: readonly string[],
    settings: object | ((node: string) => object) = {},
    kinds?: GuestKinds,
    clocks: Readonly<Record<string, () => number>> = {},
  ): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), 'vmferry-cluster-')));
    for (const name of names) {
      const config = AgentConfigSchema.parse({
        node: name,
        listen: '127.0.0.1:0',
        stateDirectory: join(cluster.#directory, name),
        ...(typeof settings === 'function' ? (settings as (node: string) => object)(name) : settings),
      });
      const log: LogLine[] = [];
      const logger = pino(
        { level: 'debug' },
        { write: (line: string) => void log.push(JSON.parse(line) as LogLine) },
      );
      cluster.#configs.set(name, config);
      cluster.nodes.push({ name, agent: await Agent.start(config, logger, kinds, clocks[name]), log });
    }
    // Only now are the ports known.
    for (const config of cluster.#configs.values()) {
      for (const { name, agent } of cluster.nodes) if (name !== config.node) config.peers[name] = agent.url;
    }
    return cluster;
  }

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Takes a node out of the configuration of another. */
  forget(node: string, peer: string): void {
    delete this.#configs.get(node)?.peers[peer];
  }

  agent(name: string): Agent {
    const node = this.nodes.find((candidate) => candidate.name === name);
    if (!node) throw new Error(`the test has no node ${name}`);
    return node.agent;
  }

  /** Where the agent of a node keeps what must outlive it. */
  stateDirectory(name: string): string {
    return join(this.#directory, name);
  }

  /** Defines and starts a guest on a node. */
  async boot(node: string, definition: Partial<EmbeddedDefinition> & { name: string }): Promise<void> {
    const full = GuestDefinitionSchema.parse({
      kind: 'embedded',
      memory: '1MiB',
      program: 'idle',
      ...definition,
    });
    await this.agent(node).defineGuest(full, undefined);
    await this.agent(node).startGuest(full.name);
  }

  /** Asks for a migration and waits for its result. */
  async migrate(vm: string, from: string, to: string, options: object = {}): Promise<MigrationResult> {
    const { id } = await this.agent(from).startMigration({ vm, to, options });
    return await this.result(from, id);
  }

  /** Waits for the result of a migration that started on `node`. */
  async result(node: string, id: string): Promise<MigrationResult> {
    for await (const event of this.agent(node).migrationEvents(id, 0, new AbortController().signal)) {
      if (event.event === 'ended') return event.result;
    }
    throw new Error(`the events of ${id} ended without a result`);
  }

  /** The nodes that have the guest, with its status there. */
  whereIs(vm: string): { node: string; status: string }[] {
    return this.nodes.flatMap(({ name, agent }) =>
      agent
        .guests()
        .filter((guest) => guest.name === vm)
        .map(({ status }) => ({ node: name, status })),
    );
  }

  /**
   * Resolves once a node holds no memory beside that of its `own` guests and its lock is free: what a source has ended
   * is cleared away at the target a moment later.
   */
  async cleared(name: string, own: readonly string[] = []): Promise<void> {
    const agent = this.agent(name);
    const guests = () => agent.guests().filter((guest) => !own.includes(guest.name));
    while (guests().length > 0 || agent.queue().length > 0) await setImmediate();
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ agent }) => agent.close()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}
