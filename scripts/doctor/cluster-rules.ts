import type { PreflightFinding } from '../../shared/protocol/messages.js';
import type { Examination } from './examination.js';

/** What is so of the nodes beside each other. */
export function clusterFindings(examination: Examination): PreflightFinding[] {
  return [
    ...unknownNodes(examination),
    ...versions(examination),
    ...qemus(examination),
    ...machines(examination),
  ];
}

/** Nodes that others have in their configurations and the one that was asked has not: nobody looked at them. */
function unknownNodes({ asked, known, nodes }: Examination): PreflightFinding[] {
  const knownBy = new Map<string, string[]>();
  for (const { node, peers } of nodes) {
    for (const peer of peers ?? []) {
      if (!known.includes(peer.node)) knownBy.set(peer.node, [...(knownBy.get(peer.node) ?? []), node]);
    }
  }
  return [...knownBy].map(([node, by]) => ({
    ...{ level: 'warning', code: 'node-unknown' },
    message: `node ${node} is known to ${listOf(by)}, and not to node ${asked}, which was asked: it was not checked`,
    remedy: `add ${node} to 'peers' of node ${asked}, or take it out of the others'`,
  }));
}

function versions({ nodes }: Examination): PreflightFinding[] {
  const by = grouped(nodes.map(({ node, report }) => [node, report?.facts.version]));
  if (by.size === 0) return [];
  const message = `agents: ${textOf(by, 'vmferry')}`;
  if (by.size === 1) return [{ level: 'ok', code: 'agent-version', message }];
  const remedy = 'finish the upgrade: pairs that can not migrate meanwhile are below';
  return [{ level: 'warning', code: 'agent-version', message, remedy }];
}

function qemus({ nodes }: Examination): PreflightFinding[] {
  const by = grouped(nodes.map(({ node, report }) => [node, report?.facts.qemu?.version]));
  if (by.size === 0) return [];
  const message = textOf(by, 'QEMU');
  if (by.size === 1) return [{ level: 'ok', code: 'qemu-version', message }];
  return [
    {
      ...{ level: 'warning', code: 'qemu-differs' },
      message: `${message}: a VM that was started with a newer one may not go to an older one`,
      remedy: 'install one version everywhere; until then move VMs to the newer ones',
    },
  ];
}

/** Types with a version in their names, which VMs are tied to. */
function machines({ nodes }: Examination): PreflightFinding[] {
  const having = nodes.flatMap(({ node, report }) =>
    report?.facts.qemu ? [{ node, types: new Set(report.facts.qemu.machines) }] : [],
  );
  const all = new Set(having.flatMap(({ types }) => [...types]).filter((type) => /\d+\.\d+$/.test(type)));
  const by = new Map<string, string[]>();
  for (const type of [...all].sort()) {
    const lacking = having.filter(({ types }) => !types.has(type)).map(({ node }) => node);
    if (lacking.length > 0) by.set(listOf(lacking), [...(by.get(listOf(lacking)) ?? []), type]);
  }
  return [...by].map(([lacking, types]) => ({
    ...{ level: 'warning', code: 'machine-types' },
    message: `QEMU of ${lacking} does not know machine types that others do: VMs of ${shortened(types)} can't go there`,
    remedy: "give VMs a 'machine' that all nodes know, or install the same QEMU",
  }));
}

/** Nodes by what they said; those that said nothing are left out. */
function grouped(said: readonly (readonly [string, string | undefined])[]): Map<string, string[]> {
  const by = new Map<string, string[]>();
  for (const [node, what] of said) if (what !== undefined) by.set(what, [...(by.get(what) ?? []), node]);
  return by;
}

function textOf(by: ReadonlyMap<string, readonly string[]>, what: string): string {
  const [[version] = []] = [...by];
  if (by.size === 1) return `${what} ${version} everywhere`;
  return [...by].map(([each, nodes]) => `${what} ${each} on ${listOf(nodes)}`).join(', ');
}

function listOf(nodes: readonly string[]): string {
  return `${nodes.length === 1 ? 'node' : 'nodes'} ${nodes.join(', ')}`;
}

function shortened(types: readonly string[]): string {
  const more = types.length - 3;
  return more > 1 ? `${types.slice(0, 3).join(', ')} and ${more} more` : types.join(', ');
}
