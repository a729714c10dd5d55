import { Slots } from '../../agent/admission/slots.js';
import { clusterQueue } from '../../agent/cluster/cluster-queue.js';
import type { ClusterNode, ClusterReport, QueueEntry } from '../../shared/api.js';
import { MigrationError, toMigrationError, type ErrorCode } from '../../shared/errors.js';
import type { AgentClient } from '../../client/agent-client.js';

/** Nodes that are asked at once. */
const AT_ONCE = 32;

/** An agent that does not take the operator for who they are. */
const REFUSALS_OF_OPERATORS = new Set<ErrorCode>(['unauthenticated', 'not-allowed', 'peer-untrusted']);

/** The cluster as an operator reaches it: the nodes are those that one agent knows, and what is done at a node its own agent is asked for. */
export class ClusterAccess {
  readonly #client: AgentClient;
  readonly #agents = new Map<string, AgentClient>();

  constructor(client: AgentClient) {
    this.#client = client;
  }

  /**
   * All nodes as they are now, which a plan needs to know: each is asked itself, and where that can't be done the word of the asked
   * agent counts.
   */
  async look(): Promise<ClusterReport> {
    const report = await this.#client.cluster(true);
    for (const { node, url } of report.nodes) {
      this.#agents.set(node, node === report.node ? this.#client : this.#client.other(url));
    }
    return await this.refresh(
      report,
      report.nodes.map(({ node }) => node),
    );
  }

  /** The same report with what some nodes say now. */
  async refresh(report: ClusterReport, nodes: readonly string[]): Promise<ClusterReport> {
    const slots = new Slots(AT_ONCE, AT_ONCE);
    const { signal } = new AbortController();
    const found = await Promise.all(
      report.nodes.map(async (each) => {
        const before = { ...each, queue: queueOf(each.node, report) };
        if (each.error !== null || !nodes.includes(each.node)) return before;
        return await slots.run('', signal, () => this.#ask(before));
      }),
    );
    const views = found.flatMap(({ node, status, queue }) => (status ? [{ node, status, queue }] : []));
    return {
      ...report,
      nodes: found.map(({ queue: _, ...each }) => each),
      queue: clusterQueue(views, Date.parse(report.at)),
    };
  }

  /** Does something at the node's own agent, whose errors it throws. */
  async at<Result>(node: string, action: (agent: AgentClient) => Promise<Result>): Promise<Result> {
    const agent = this.agent(node);
    try {
      return await action(agent);
    } catch (thrown) {
      const { code, message } = toMigrationError(thrown);
      if (!REFUSALS_OF_OPERATORS.has(code)) throw thrown;
      const text =
        `the agent of node ${node} at ${agent.url} refuses you: ${message}. What is done at a node its own agent is asked for, ` +
        'as you: --token-file, --ca, --certificate and --key must be good for all of them';
      throw new MigrationError(code, text, { cause: thrown });
    }
  }

  /** The agent of a node that look() has shown. */
  agent(node: string): AgentClient {
    const agent = this.#agents.get(node);
    if (!agent) throw new Error(`node ${node} was not looked at`);
    return agent;
  }

  async #ask(before: AskedNode): Promise<AskedNode> {
    const agent = this.agent(before.node);
    const [status, queue] = await Promise.allSettled([agent.status(), agent.queue()]);
    if (status.status === 'rejected' || queue.status === 'rejected') return before;
    return { ...before, status: status.value, queue: queue.value };
  }
}

type AskedNode = ClusterNode & { queue: QueueEntry[] };

/** The queue of a node, of the queues of all. */
function queueOf(node: string, { queue }: ClusterReport): QueueEntry[] {
  return queue.flatMap(({ positions, ...entry }) =>
    positions
      .filter((each) => each.node === node)
      .map(({ position }): QueueEntry => ({ ...entry, position })),
  );
}

/** A node of the report that has answered. Throws unknown-node, or why it has not. */
export function answeringNode(
  report: ClusterReport,
  name: string,
): ClusterNode & { status: NonNullable<ClusterNode['status']> } {
  const found = report.nodes.find(({ node }) => node === name);
  if (!found) {
    const known = report.nodes.map(({ node }) => node).join(', ');
    throw new MigrationError(
      'unknown-node',
      `node ${name} is not known to node ${report.node} (known: ${known})`,
    );
  }
  const { status, error } = found;
  if (status) return { ...found, status };
  throw new MigrationError(
    error?.code ?? 'peer-failed',
    `node ${name} can't be asked by node ${report.node}: ${error?.message ?? 'no reason is given'}`,
  );
}
