import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentProcess } from '../../scripts/lab/agent-process.js';
import type { AgentClient } from '../../client/agent-client.js';
import { AgentLab } from '../support/agent-lab.js';
import { QemuLab } from '../support/qemu-lab.js';
import { LinkConditions, LinkProxy } from './link-proxy.js';
import { heldFiles } from './held-files.js';

export type GuestKindName = 'embedded' | 'qemu';
export type NodeName = 'a' | 'b';
export const NODES: readonly NodeName[] = ['a', 'b'];

export const otherNode = (node: NodeName): NodeName => (node === 'a' ? 'b' : 'a');

/** Short, so that faults are noticed soon; long enough for a host that others use as well. */
const SETTINGS = { lock: { grace: '500ms' }, log: { level: 'debug' } };
const HEARTBEAT = { heartbeat: '100ms', silence: '4s' };

/** Two agents in processes of their own that reach each other by nothing but a link that can be made to fail. */
export class FaultPair {
  readonly link: LinkConditions;
  /** Nodes whose agent was killed, and the agents that there were, since begin(). */
  readonly killed = new Set<NodeName>();
  readonly lab: AgentLab;
  readonly qemu: QemuLab | null;
  #agents: AgentProcess[] = [];
  /** Nodes whose agent was killed and is not started again yet: a process that was sent a signal may take a while to end. */
  readonly #down = new Set<NodeName>();
  #mostHeld: ReadonlyMap<NodeName, number> = new Map();
  readonly #proxies: LinkProxy[];
  readonly #endings: (() => Promise<void>)[];

  static async start(kind: GuestKindName, transport: 'auto' | 'websocket'): Promise<FaultPair> {
    const link = new LinkConditions();
    const toB = await LinkProxy.listen(link, 'a', 'b');
    const toA = await LinkProxy.listen(link, 'b', 'a');
    const endings: (() => Promise<void>)[] = [];
    const t = { teardown: (end: () => Promise<void>) => void endings.unshift(end) };
    const settingsOf = (node: string) => ({
      ...SETTINGS,
      link: { ...HEARTBEAT, pages: transport },
      peers: node === 'a' ? { b: toB.url } : { a: toA.url },
    });
    try {
      const qemu = kind === 'qemu' ? await QemuLab.start(t, NODES, settingsOf) : null;
      const lab = qemu?.agents ?? (await AgentLab.start(t, NODES, settingsOf));
      toA.upstreamPort = Number(new URL(lab.agent('a').url).port);
      toB.upstreamPort = Number(new URL(lab.agent('b').url).port);
      return new FaultPair(link, lab, qemu, [toA, toB], endings);
    } catch (error) {
      for (const end of endings) await end();
      await Promise.all([toA.close(), toB.close()]);
      throw error;
    }
  }

  private constructor(
    link: LinkConditions,
    lab: AgentLab,
    qemu: QemuLab | null,
    proxies: LinkProxy[],
    endings: (() => Promise<void>)[],
  ) {
    this.link = link;
    this.lab = lab;
    this.qemu = qemu;
    this.#proxies = proxies;
    this.#endings = endings;
    this.begin();
  }

  client(node: NodeName): AgentClient {
    return this.lab.client(node);
  }

  agent(node: NodeName): AgentProcess {
    return this.lab.agent(node);
  }

  /** A run begins: what was logged before is of no interest any more. */
  begin(): void {
    this.killed.clear();
    this.#agents = NODES.map((node) => this.agent(node));
    for (const agent of this.#agents) agent.log.length = 0;
  }

  /** Whether a signal can be sent to the agent of a node: it may have been killed and not be started again. */
  isUp(node: NodeName): boolean {
    const { exitCode, signalCode } = this.agent(node).process;
    return !this.#down.has(node) && exitCode === null && signalCode === null;
  }

  async kill(node: NodeName): Promise<void> {
    this.killed.add(node);
    this.#down.add(node);
    await this.agent(node).kill();
  }

  /** Makes sure that nothing of a node runs any more, as an operator does who switches its host off. */
  async fence(node: NodeName): Promise<void> {
    await this.kill(node);
    for (const pid of this.qemu?.qemus(node) ?? []) process.kill(pid, 'SIGKILL');
  }

  async restart(node: NodeName): Promise<void> {
    await this.lab.restart(node);
    this.#down.delete(node);
    this.#agents.push(this.agent(node));
  }

  /** Agents that have ended by themselves. */
  get ended(): string[] {
    return NODES.filter((node) => !this.isUp(node)).map((node) => {
      const { exitCode, signalCode } = this.agent(node).process;
      return `the agent of node ${node} has ended by itself: ${signalCode ?? exitCode}`;
    });
  }

  /** What the agents themselves have logged as a defect since begin(). */
  get defects(): string[] {
    return this.#agents.flatMap(({ node, log }) =>
      log
        .filter(({ msg }) => String(msg).startsWith('unhandled rejection'))
        .map((line) => `the agent of node ${node} has logged ${JSON.stringify(line)}`),
    );
  }

  /** From now on an agent may hold as much as it does now, and no more. To be called when nothing is under way. */
  async takeBaseline(): Promise<void> {
    const held = await Promise.all(NODES.map((node) => heldFiles(this.agent(node).process.pid!)));
    const most = Math.max(...held.map((files) => files.length));
    this.#mostHeld = new Map(NODES.map((node) => [node, most]));
  }

  /** What is left of guests that were there; empty if nothing is. */
  async remains(): Promise<string[]> {
    const found = await Promise.all(NODES.map((node) => this.#remainsOf(node)));
    const open = this.link.connections.size;
    return [...(open > 0 ? [`${open} connections between the agents are open`] : []), ...found.flat()];
  }

  /** Writes what the agents logged since begin() into a folder. */
  async writeLogs(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    for (const node of NODES) {
      const lines = this.#agents.filter((agent) => agent.node === node).flatMap(({ log }) => log);
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      await writeFile(join(directory, `${node}.log`), text);
    }
  }

  async close(): Promise<void> {
    this.link.mend();
    for (const end of this.#endings) await end();
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }

  async #remainsOf(node: NodeName): Promise<string[]> {
    const { guests, migrations } = await this.client(node).status();
    const queue = await this.client(node).queue();
    const remains = [
      ...guests.map(({ name, status }) => `VM ${name} (${status})`),
      ...queue.map(({ migration, state }) => `${migration} ${state} in the queue`),
      ...migrations
        .filter(({ phase }) => phase !== 'ended')
        .map(({ id, phase, role }) => `migration ${id} as ${role}: ${phase}`),
      ...(await this.#filesOf(node)),
    ];
    const { pid } = this.agent(node).process;
    const held = await heldFiles(pid!);
    const most = this.#mostHeld.get(node) ?? Infinity;
    if (held.length > most) {
      remains.push(`${held.length} descriptors instead of at most ${most}: ${held.join(' ')}`);
    }
    if (this.qemu) remains.push(...this.qemu.qemus(node).map((process) => `QEMU ${process} runs`));
    return remains.map((text) => `node ${node}: ${text}`);
  }

  /** Files and directories of guests and migrations. The journal keeps a bounded number of entries 'aborted', which mean the same as none. */
  async #filesOf(node: NodeName): Promise<string[]> {
    const state = join(this.lab.directory, node);
    const inside = async (folder: string) =>
      (await readdir(join(state, folder)).catch(() => [])).map((name) => join(state, folder, name));
    const arrivals = join(state, 'guests', 'arriving');
    const files = [
      ...(await inside('guests')).filter((path) => path !== arrivals),
      ...(await inside('guests/arriving')),
      ...(await inside('run')),
    ];
    if (this.qemu) files.push(...(await readdir(this.qemu.memoryDirectory(node))));
    for (const file of await inside('journal')) {
      const text = await readFile(file, 'utf8').catch(() => '');
      if (!text.includes('"aborted"')) files.push(`${file}: ${text}`);
    }
    return files;
  }
}
