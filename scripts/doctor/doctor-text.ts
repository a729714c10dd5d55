import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { counted, formatRate } from '../../shared/units.js';
import { findingLines } from '../cli/finding-lines.js';
import type { ClusterDoctorReport, NodeSection, PairSection } from './doctor-report.js';

/** The report for people: what is wrong, the worst first, in groups; what is well in a line each. `verbose`: all of it. */
export function doctorText(report: ClusterDoctorReport, verbose: boolean): string {
  const { cluster, nodes, pairs } = report;
  const groups = [
    ...nodes.map((node) => ({ title: `node ${node.node}`, well: wellNode(node), findings: node.findings })),
    ...pairs.map((pair) => ({
      title: `nodes ${pair.nodes.join(' and ')}`,
      well: wellPair(pair),
      findings: pair.findings,
    })),
    { title: 'all nodes', well: wellCluster(cluster.findings), findings: cluster.findings },
  ].map((group) => ({ ...group, lines: findingLines(verbose ? group.findings : bad(group.findings)) }));
  const troubled = groups
    .filter(({ lines }) => lines.length > 0)
    .sort((a, b) => rank(a.findings) - rank(b.findings));
  const well = groups.filter(({ lines }) => lines.length === 0);
  return [
    heading(report),
    ...troubled.map(({ title, lines }) => [title, ...lines.map(indented)].join('\n')),
    ...(well.length > 0 ? [well.map(({ title, well: words }) => `${title}: ok${words}`).join('\n')] : []),
    verdict(report),
  ].join('\n\n');
}

function heading({ node, nodes, pairs }: ClusterDoctorReport): string {
  return `${counted(nodes.length, 'node')} and ${counted(pairs.length, 'pair')}, named by node ${node}`;
}

function verdict({ ok, refusals, warnings, linksMeasured }: ClusterDoctorReport): string {
  const counts = `${counted(refusals, 'refusal')}, ${counted(warnings, 'warning')}`;
  const words = ok ? 'VMs can run and move' : 'not all VMs can run and move: see the refusals';
  return `${words} (${counts})${linksMeasured ? '' : '\nlink rates were not measured: --link does that'}`;
}

function bad(findings: readonly PreflightFinding[]): PreflightFinding[] {
  return findings.filter(({ level }) => level !== 'ok');
}

/** The worst first, and of equals those of nodes, pairs, all. */
function rank(findings: readonly PreflightFinding[]): number {
  return findings.some(({ level }) => level === 'refusal') ? 0 : bad(findings).length > 0 ? 1 : 2;
}

function indented(lines: string): string {
  return lines.replace(/^/gm, '  ');
}

function wellNode({ facts }: NodeSection): string {
  if (!facts) return '';
  const qemu = facts.qemu ? `, QEMU ${facts.qemu.version}` : '';
  return `, vmferry ${facts.version}${qemu}, Linux ${facts.kernel}`;
}

function wellPair({ links, paths }: PairSection): string {
  const rates = links.flatMap(({ bytesPerSecond }) => bytesPerSecond ?? []);
  if (rates.length > 0)
    return `, ${rates.map(formatRate).join(' there, ')}${rates.length > 1 ? ' back' : ''}`;
  const [path] = paths.filter(Boolean);
  return path?.pathMtu ? `, MTU ${path.pathMtu}` : '';
}

function wellCluster(findings: readonly PreflightFinding[]): string {
  return findings.map(({ message }) => `, ${message}`).join('');
}
