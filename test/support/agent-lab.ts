import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { AgentClient } from '../../client/agent-client.js';
import type { AccessOptions } from '../../client/agent-connection.js';
import {
  type AgentPlace,
  type AgentProcess,
  startAgent,
  startAgents,
} from '../../scripts/lab/agent-process.js';
import type { MigrationEvent, MigrationOptions, MigrationResult } from '../../shared/api.js';
import { type EmbeddedDefinition, EmbeddedDefinitionSchema } from '../../shared/guest-definition.js';

const SCRIPT = fileURLToPath(new URL('../../scripts/vmferry.js', import.meta.url));

/** Whatever the test leaves behind is ended by it. */
interface Test {
  teardown(callback: () => Promise<void>): void;
}

/** The command `vmferry` that has ended. */
export interface CommandOutcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A definition with what most tests leave open. */
export type Guest = Partial<EmbeddedDefinition> & { name: string };

export function definitionOf(guest: Guest) {
  return EmbeddedDefinitionSchema.parse({ kind: 'embedded', memory: '1MiB', program: 'idle', ...guest });
}

/** Some agents in processes of their own that know each other, driven as their users do: by HTTP and by the command. */
export class AgentLab {
  readonly directory: string;
  readonly #agents = new Map<string, AgentProcess>();
  /** How the agents are asked. */
  access: AccessOptions = {};

  /** `settings`: what else is in the configuration, of all or of each node. */
  static async start(
    t: Test,
    nodes: readonly string[],
    settings: object | ((node: string) => object) = {},
    placeOf?: (node: string) => AgentPlace,
    prepareDirectory?: (path: string) => Promise<void>,
  ): Promise<AgentLab> {
    const lab = new AgentLab(await mkdtemp(join(tmpdir(), 'vmferry-lab-')));
    t.teardown(async () => {
      await Promise.all([...lab.#agents.values()].map((agent) => agent.kill()));
      await rm(lab.directory, { recursive: true, force: true });
    });
    await prepareDirectory?.(lab.directory);
    const agents = await startAgents(nodes, lab.directory, settings, placeOf);
    for (const agent of agents) lab.#agents.set(agent.node, agent);
    return lab;
  }

  private constructor(directory: string) {
    this.directory = directory;
  }

  agent(node: string): AgentProcess {
    const agent = this.#agents.get(node);
    if (!agent) throw new Error(`the test has no node ${node}`);
    return agent;
  }

  client(node: string): AgentClient {
    return new AgentClient(this.agent(node).url, this.access);
  }

  /** Starts the agent of a node that has ended again, at the same address with the same state. */
  async restart(node: string): Promise<void> {
    const { url } = this.agent(node);
    this.#agents.set(node, await startAgent(node, url, join(this.directory, `${node}.yaml`)));
  }

  /** Defines and starts a guest. */
  async boot(node: string, guest: Guest, image?: Uint8Array): Promise<void> {
    const client = this.client(node);
    await client.defineGuest(definitionOf(guest), image);
    await client.changeGuest(guest.name, 'start');
  }

  /** Asks for a migration; its id. */
  async request(
    vm: string,
    from: string,
    to: string,
    options: Partial<MigrationOptions> = {},
  ): Promise<string> {
    return (await this.client(from).startMigration({ vm, to, options })).id;
  }

  /** Asks for a migration and waits for its result. */
  async migrate(
    vm: string,
    from: string,
    to: string,
    options: Partial<MigrationOptions> = {},
  ): Promise<MigrationResult> {
    return await this.result(from, await this.request(vm, from, to, options));
  }

  async result(node: string, id: string): Promise<MigrationResult> {
    const ended = await this.event(node, id, (event) => event.event === 'ended');
    if (ended.event !== 'ended') throw new Error('the events ended without a result');
    return ended.result;
  }

  /** The first event of a migration that matches, of those past or of later ones. */
  async event(
    node: string,
    id: string,
    matches: (event: MigrationEvent) => boolean,
  ): Promise<MigrationEvent> {
    const leave = new AbortController();
    try {
      for await (const event of this.client(node).migrationEvents(id, -1, leave.signal)) {
        if (matches(event)) return event;
      }
    } finally {
      leave.abort();
    }
    throw new Error(`the events of ${id} ended`);
  }

  /** Waits until the pages of a migration are on their way. */
  async copying(node: string, id: string): Promise<void> {
    await this.event(node, id, (event) => event.event === 'phase' && event.phase === 'copying');
  }

  /** Waits until a migration has a place in the queue and another one before it. */
  async waiting(node: string, id: string): Promise<void> {
    await this.event(node, id, (event) => event.event === 'queue' && event.queue.waitsFor.length > 0);
  }

  /** Follows the console of a guest that stays until all of it, from its boot on, matches; all of it until then. */
  async console(node: string, vm: string, matches: RegExp): Promise<string> {
    const leave = new AbortController();
    let printed = '';
    try {
      for await (const chunk of this.client(node).followConsole(vm, 0, leave.signal)) {
        printed += chunk.text;
        if (matches.test(printed)) return printed;
      }
    } finally {
      leave.abort();
    }
    throw new Error(`the console of ${vm} ended with ${JSON.stringify(printed)}`);
  }

  /** Follows the console of a guest until it has powered itself off; all that it ever printed. */
  async transcript(node: string, vm: string): Promise<string> {
    let printed = '';
    for await (const chunk of this.client(node).followConsole(vm, 0, new AbortController().signal)) {
      printed += chunk.text;
    }
    return printed;
  }

  /** The nodes that have the guest, with its status there; `nodes`: those that are asked. */
  async whereIs(vm: string, nodes = [...this.#agents.keys()]): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const node of nodes) {
      for (const { name, status } of await this.client(node).guests()) {
        if (name === vm) found[node] = status;
      }
    }
    return found;
  }

  /** Writes a file that commands can name. */
  async file(name: string, content: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, content);
    return path;
  }

  /** Runs the command `vmferry` as a process of its own, asking the agent of `node`. */
  async command(node: string, ...args: string[]): Promise<CommandOutcome> {
    return await vmferry(this.agent(node).url, args).ended;
  }
}

/** Starts the command `vmferry` as a process of its own, asking the agent at `url`. */
export function vmferry(url: string, args: string[]) {
  const child = spawn(process.execPath, [SCRIPT, ...args], {
    env: { ...process.env, VMFERRY_AGENT: url },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end();
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[code], stdout, stderr]): CommandOutcome => ({ exitCode: code as number | null, stdout, stderr }),
  );
  return { child, ended };
}
