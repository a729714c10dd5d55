import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { Agent } from '../../agent/agent.js';
import type { AgentService } from '../../agent/api/service.js';
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
  agent: Agent;
  readonly log: LogLine[];
  readonly config: AgentConfig;
  readonly kinds: GuestKinds | undefined;
  readonly clock: (() => number) | undefined;
}

async function startNode({ config, kinds, clock, log }: Omit<Node, 'agent'>): Promise<Agent> {
  const write = (line: string) => void log.push(JSON.parse(line) as LogLine);
  return await Agent.start(config, pino({ level: 'debug' }, { write }), kinds, clock);
}

/** Some agents in this process, on ports of loopback of their own, that know each other. */
export class Cluster {
  readonly nodes: Node[] = [];
  readonly #directory: string;

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
      const parts = { name, config, kinds, clock: clocks[name], log: [] };
      cluster.nodes.push({ ...parts, agent: await startNode(parts) });
    }
    // Only now are the ports known.
    for (const { config } of cluster.nodes) {
      for (const { name, agent } of cluster.nodes) if (name !== config.node) config.peers[name] = agent.url;
    }
    return cluster;
  }

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Takes a node out of the configuration of another. */
  forget(node: string, peer: string): void {
    delete this.nodes.find(({ name }) => name === node)?.config.peers[peer];
  }

  agent(name: string): Agent {
    const node = this.nodes.find((candidate) => candidate.name === name);
    if (!node) throw new Error(`the test has no node ${name}`);
    return node.agent;
  }

  /** What the agent of a node offers its clients. */
  service(name: string): AgentService {
    return this.agent(name).service;
  }

  /** Ends the agent of a node and starts it again: at the same address, with the same state. */
  async restart(name: string): Promise<void> {
    const node = this.nodes.find((candidate) => candidate.name === name)!;
    const url = new URL(node.agent.url);
    await node.agent.close();
    node.config.listen.tcp = { host: url.hostname, port: Number(url.port) };
    node.agent = await startNode(node);
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
    await this.service(node).defineGuest(full, undefined);
    await this.service(node).startGuest(full.name);
  }

  /** Asks for a migration and waits for its result. */
  async migrate(vm: string, from: string, to: string, options: object = {}): Promise<MigrationResult> {
    const { id } = await this.service(from).startMigration({ vm, to, options });
    return await this.result(from, id);
  }

  /** Waits for the result of a migration that started on `node`. */
  async result(node: string, id: string): Promise<MigrationResult> {
    for await (const event of this.service(node).migrationEvents(id, 0, new AbortController().signal)) {
      if (event.event === 'ended') return event.result;
    }
    throw new Error(`the events of ${id} ended without a result`);
  }

  /** The nodes that have the guest, with its status there. */
  whereIs(vm: string): { node: string; status: string }[] {
    return this.nodes.flatMap(({ name, agent }) =>
      agent.service
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
    const service = this.service(name);
    const guests = () => service.guests().filter((guest) => !own.includes(guest.name));
    while (guests().length > 0 || service.queue().length > 0) await setImmediate();
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ agent }) => agent.close()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}
