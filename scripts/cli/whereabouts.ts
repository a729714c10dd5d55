import { Slots } from '../../agent/admission/slots.js';
import type { ClusterNode, ClusterReport } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import type { AgentClient } from '../../client/agent-client.js';

/** What a command is about that one node has, and that may be another one than the asked one. */
export interface Subject {
  readonly vm?: string | undefined;
  /** Where the VM is to go. */
  readonly to?: string | undefined;
  readonly migration?: string | undefined;
}

/** Nodes that are asked at once for a migration that ended long ago, and the longest that one is waited for. */
const AT_ONCE = 32;
const ANSWER_MS = 3000;

/**
 * `error`, or where the asked agent has no such VM or migration: which node has it and the line to run, or that no node has it. `line`:
 * the command line as it was given.
 */
export async function withWhereabouts(
  error: MigrationError,
  subject: Subject,
  client: AgentClient,
  line: readonly string[],
): Promise<MigrationError> {
  const { vm, to, migration } = subject;
  if (vm === undefined && migration === undefined) return error;
  // Who asks the agent of the target is told of that first.
  const atTarget = vm !== undefined && error.code === 'same-node';
  if (error.code !== 'not-found' && !atTarget) return error;
  let report: ClusterReport;
  let found: ClusterNode[];
  try {
    report = await client.cluster(true);
    const others = report.nodes.filter(({ node }) => node !== report.node);
    if (others.length === 0) return error;
    const here = report.nodes.find(({ node }) => node === report.node)?.status;
    if (atTarget && here?.guests.some(({ name, status }) => name === vm && status !== 'incoming'))
      return error;
    found = vm === undefined ? await nodesWithMigration(migration!, others, client) : nodesWithVm(vm, others);
  } catch {
    // Why it was asked for at all counts more than why nothing else is known.
    return error;
  }
  const what = vm === undefined ? `migration ${migration}` : `VM ${vm}`;
  const [first] = found;
  const told = (text: string) => new MigrationError(error.code, text, { cause: error });
  if (!first) {
    const silent = report.nodes.filter((each) => each.error !== null).map(({ node }) => node);
    const unknown = silent.length === 0 ? '' : `, as far as is known: no answer from ${silent.join(', ')}`;
    return told(`no node of the cluster has ${what}${unknown}`);
  }
  const names = found.map(({ node }) => node);
  if (to !== undefined && names.includes(to)) return told(`${what} is on node ${to} already`);
  const where = `${names.length === 1 ? 'node' : 'nodes'} ${names.join(', ')}`;
  const has = vm === undefined ? `started on ${where}` : `is on ${where}`;
  return told(`${what} is not on node ${report.node}: it ${has}. Run: ${lineAt(first.url, line)}`);
}

/** Those that have it, before those to which it is just coming. */
function nodesWithVm(vm: string, nodes: readonly ClusterNode[]): ClusterNode[] {
  const statusOn = ({ status }: ClusterNode) => status?.guests.find(({ name }) => name === vm)?.status;
  const having = nodes.filter((node) => statusOn(node) !== undefined);
  const there = having.filter((node) => statusOn(node) !== 'incoming');
  return there.length > 0 ? there : having;
}

/** Its source, which alone can tell all of it, limit it and cancel it. */
async function nodesWithMigration(
  id: string,
  nodes: readonly ClusterNode[],
  client: AgentClient,
): Promise<ClusterNode[]> {
  const sources = nodes.filter(({ status }) =>
    status?.migrations.some((migration) => migration.id === id && migration.role === 'source'),
  );
  if (sources.length > 0) return sources;
  // What ended long ago is in its source's history alone.
  const slots = new Slots(AT_ONCE, AT_ONCE);
  const { signal } = new AbortController();
  const knows = async ({ url }: ClusterNode): Promise<boolean> => {
    const answered = client.other(url).migration(id, AbortSignal.timeout(ANSWER_MS));
    return await answered.then(
      () => true,
      () => false,
    );
  };
  const known = await Promise.all(
    nodes.map(async (node) => node.status !== null && (await slots.run('', signal, () => knows(node)))),
  );
  return nodes.filter((_, index) => known[index]);
}

/** The line that asks another agent for the same, to be pasted into a shell. */
function lineAt(url: string, line: readonly string[]): string {
  const rest = line.filter(
    (word, index) => word !== '--agent' && line[index - 1] !== '--agent' && !word.startsWith('--agent='),
  );
  return ['vmferry', ...rest, '--agent', url].map(shellWord).join(' ');
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
