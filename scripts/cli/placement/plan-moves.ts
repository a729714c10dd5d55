import type { PreflightFinding } from '../../../shared/protocol/messages.js';
import { formatBytes } from '../../../shared/units.js';
import type { Candidate, Stuck } from './node-guests.js';
import { fillOf, type NodeLoad, type Reason } from './node-load.js';

/** A VM, where it is to go, and why there. */
export interface Move extends Candidate {
  readonly to: string;
  readonly reason: string;
  /** What preflight found beside. */
  readonly warnings: readonly PreflightFinding[];
}

export interface MovePlan {
  readonly moves: readonly Move[];
  readonly stuck: readonly Stuck[];
}

/** Preflight of a move on both sides. */
export type DryRun = (move: Candidate & { to: string }) => Promise<readonly PreflightFinding[]>;

/** A node while VMs are given places. */
type Place = { -readonly [Key in keyof NodeLoad]: NodeLoad[Key] };

/** What speaks against a node, whichever VM of the same source it is that would go there. */
const OF_THE_NODE = new Set([
  'node-drained',
  'peer-unreachable',
  'peer-untrusted',
  'wrong-node',
  'unknown-node',
  'link-lost',
  'timeout',
  'version-unsupported',
  'shutting-down',
]);

/**
 * Where each VM is to go: the largest first, since they find room the hardest; each to the node that is the least full with it, all that
 * was planned or asked for before counted in, and of those that come out the same to the one with the fewest migrations. A node that
 * refuses in its dry run makes room for the next best. The same cluster gives the same plan.
 */
export async function planMoves(
  candidates: readonly Candidate[],
  loads: readonly NodeLoad[],
  dryRun: DryRun,
): Promise<MovePlan> {
  const places = loads.map((load): Place => ({ ...load }));
  const refusing = new Map<string, Reason>();
  const moves: Move[] = [];
  const stuck: Stuck[] = [];
  const largestFirst = [...candidates].sort(
    (a, b) => b.memoryBytes - a.memoryBytes || compareNames(a.vm, b.vm) || compareNames(a.from, b.from),
  );
  for (const candidate of largestFirst) {
    const { from, memoryBytes } = candidate;
    const others = places.filter(({ node }) => node !== from);
    const fillWith = (place: NodeLoad) => Math.round(100 * fillOf(place.takenBytes + memoryBytes, place));
    const closed = (place: NodeLoad) =>
      place.closed ?? refusing.get(pair(from, place.node)) ?? noRoom(place, memoryBytes);
    const reasons = others.flatMap((place) => closed(place) ?? []);
    const open = others
      .filter((place) => closed(place) === null)
      .sort(
        (a, b) => fillWith(a) - fillWith(b) || a.migrations - b.migrations || compareNames(a.node, b.node),
      );
    const better: Reason[] = [];
    let move: Move | null = null;
    for (const place of open) {
      const findings = await dryRun({ ...candidate, to: place.node });
      const refusal = findings.find(({ level }) => level === 'refusal');
      if (!refusal) {
        const warnings = findings.filter(({ level }) => level === 'warning');
        move = { ...candidate, to: place.node, reason: why(fillWith(place), open.length, better), warnings };
        place.takenBytes += memoryBytes;
        place.migrations += 1;
        break;
      }
      const reason = { node: place.node, code: refusal.code, message: refusal.message };
      better.push(reason);
      if (OF_THE_NODE.has(refusal.code)) refusing.set(pair(from, place.node), reason);
    }
    if (move) moves.push(move);
    else stuck.push({ vm: candidate.vm, from, reasons: inOrderOfNodes([...reasons, ...better]) });
  }
  return { moves, stuck };
}

function noRoom({ node, limitBytes, takenBytes }: NodeLoad, memoryBytes: number): Reason | null {
  if (takenBytes + memoryBytes <= limitBytes) return null;
  const free = formatBytes(Math.max(0, limitBytes - takenBytes));
  const message = `node ${node} has ${free} free for VMs, with what is to go there already; ${formatBytes(memoryBytes)} are needed`;
  return { node, code: 'target-out-of-memory', message };
}

function why(percent: number, choices: number, refused: readonly Reason[]): string {
  const full = `${percent} % full with it`;
  const choice =
    choices - refused.length > 1 ? `the least of ${choices - refused.length} nodes` : 'the only one left';
  const others = refused.map(({ node, code }) => `${node} refuses: ${code}`);
  return [`${full}, ${choice}`, ...others].join('; ');
}

function inOrderOfNodes(reasons: readonly Reason[]): Reason[] {
  return [...reasons].sort((a, b) => compareNames(a.node, b.node));
}

function pair(from: string, to: string): string {
  return `${from} ${to}`;
}

/** By code units: the same everywhere. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
