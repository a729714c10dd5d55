import type { NodeFacts, PeerPath } from '../../shared/api/doctor.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { clockFinding, compareClocks } from './clock-rules.js';
import { clusterFindings } from './cluster-rules.js';
import type { ClockOffset, Examination, MeasuredLink } from './examination.js';
import { linkFindings } from './link-rules.js';
import { nodeFindings } from './node-rules.js';
import { isPair, pairFindings, waysOf } from './pair-rules.js';

/** Findings about one thing, the worst first. */
interface Findings {
  /** True if no finding is a refusal. */
  readonly ok: boolean;
  readonly findings: readonly PreflightFinding[];
}

export interface NodeSection extends Findings {
  readonly node: string;
  readonly url: string;
  /** Beside the clock in the middle of all; null where it could not be read. */
  readonly clock: ClockOffset | null;
  /** Null where the node did not say. */
  readonly facts: NodeFacts | null;
}

export interface PairSection extends Findings {
  readonly nodes: readonly [string, string];
  /** From the first to the second, and back. */
  readonly paths: readonly [PeerPath | null, PeerPath | null];
  /** What was measured of them. */
  readonly links: readonly Omit<MeasuredLink, 'finding'>[];
}

/** What `vmferry doctor --json` prints. */
export interface ClusterDoctorReport {
  /** True if nothing refuses a migration anywhere. */
  readonly ok: boolean;
  /** The node whose agent named the others. */
  readonly node: string;
  readonly at: string;
  readonly refusals: number;
  readonly warnings: number;
  readonly linksMeasured: boolean;
  readonly cluster: Findings;
  /** Those with the worst findings first, then by name. */
  readonly nodes: readonly NodeSection[];
  readonly pairs: readonly PairSection[];
}

const LEVELS: readonly PreflightFinding['level'][] = ['refusal', 'warning', 'ok'];

/** All findings in groups. `own`: those about whoever asks. */
export function doctorReport(
  examination: Examination,
  at: Date,
  own: readonly PreflightFinding[] = [],
): ClusterDoctorReport {
  const { asked, nodes, links } = examination;
  const clocks = compareClocks(nodes);
  const cluster = worstFirst([...own, ...clusterFindings(examination)]);
  const nodeSections = nodes.map((node): NodeSection => {
    const clock = clocks.find((each) => each.node === node.node);
    const ofClock = clockFinding(node.node, clocks);
    return {
      ...{ node: node.node, url: node.url, facts: node.report?.facts ?? null },
      clock: clock ? { aheadMs: clock.aheadMs, boundMs: clock.boundMs } : null,
      ...worstFirst([...nodeFindings(node, nodes, asked), ...(ofClock ? [ofClock] : [])]),
    };
  });
  const pairs = nodes
    .flatMap((a, index) => nodes.slice(index + 1).map((b) => [a, b] as const))
    .filter(([a, b]) => isPair(a, b))
    .map(([a, b]): PairSection => {
      const [there, back] = waysOf(a, b).map(({ found }) => found?.path ?? null) as [PeerPath, PeerPath];
      return {
        ...{ nodes: [a.node, b.node], paths: [there, back] },
        links: (links ?? [])
          .filter(({ from, to }) => [a.node, b.node].includes(from) && [a.node, b.node].includes(to))
          .map(({ finding: _, ...link }) => link),
        ...worstFirst([...pairFindings(a, b), ...(links ? linkFindings(a, b, links) : [])]),
      };
    });
  const all = [cluster, ...nodeSections, ...pairs].flatMap(({ findings }) => findings);
  const count = (level: PreflightFinding['level']) => all.filter((finding) => finding.level === level).length;
  return {
    ok: count('refusal') === 0,
    node: asked,
    at: at.toISOString(),
    refusals: count('refusal'),
    warnings: count('warning'),
    linksMeasured: links !== null,
    cluster,
    nodes: sectionsWorstFirst(nodeSections),
    pairs: sectionsWorstFirst(pairs),
  };
}

function worstFirst(findings: readonly PreflightFinding[]): Findings {
  return {
    ok: findings.every(({ level }) => level !== 'refusal'),
    findings: LEVELS.flatMap((level) => findings.filter((finding) => finding.level === level)),
  };
}

function sectionsWorstFirst<Section extends Findings>(sections: readonly Section[]): Section[] {
  const worst = ({ findings }: Section) => LEVELS.indexOf(findings[0]?.level ?? 'ok');
  return LEVELS.flatMap((_, rank) => sections.filter((section) => worst(section) === rank));
}
