import type { Candidate } from './node-guests.js';
import { fillOf, type NodeLoad } from './node-load.js';
import { compareNames, type DryRun, type Move } from './plan-moves.js';

/** How full a node is before and after, with all that is on its way counted as done. bytes */
export interface BalancedNode {
  readonly node: string;
  readonly limitBytes: number;
  readonly beforeBytes: number;
  readonly afterBytes: number;
}

export interface BalancePlan {
  readonly moves: readonly Move[];
  /** Nodes that take VMs, in the order of the report. */
  readonly nodes: readonly BalancedNode[];
  /** Of all their memory together what is taken: what each node should come near. 0 to 1 */
  readonly meanFill: number;
  /** Whether each node is within the tolerance afterwards. */
  readonly balanced: boolean;
  /** Moves that would have been better, with the word of the preflight that refused them. */
  readonly refused: readonly { vm: string; to: string; code: string; message: string }[];
}

interface Place {
  readonly node: string;
  readonly limitBytes: number;
  readonly beforeBytes: number;
  /** Once all has moved. */
  bytes: number;
  /** While VMs may be on both of their nodes. */
  mostBytes: number;
}

interface Step {
  readonly candidate: Candidate;
  readonly from: Place;
  readonly to: Place;
  /** What it takes off what is beyond the tolerance in all, and off the sum of squares of what differs from the mean. */
  readonly gain: number;
  readonly evening: number;
}

/** Gains below that are rounding. */
const EPSILON = 1e-9;

/**
 * The few moves that bring each node's memory use within `tolerance` (0 to 1) of the cluster's: in each step the one that takes the most
 * off what is beyond it, until nothing is, or none does. Moves that turn out not to be needed are taken back. Each step looks no further
 * than itself, so that a plan may be a little longer than the shortest. The same cluster gives the same plan.
 */
export async function planBalance(
  candidates: readonly Candidate[],
  loads: readonly NodeLoad[],
  tolerance: number,
  dryRun: DryRun,
): Promise<BalancePlan> {
  const open = loads.filter(({ closed }) => closed === null);
  const places = open.map(({ node, limitBytes, takenBytes, leavingBytes }): Place => {
    const beforeBytes = takenBytes - leavingBytes;
    return { node, limitBytes, beforeBytes, bytes: beforeBytes, mostBytes: takenBytes };
  });
  const meanFill = fillOf(
    sum(places, ({ bytes }) => bytes),
    { limitBytes: sum(places, ({ limitBytes }) => limitBytes) },
  );
  const beyond = (place: Place, bytes = place.bytes) =>
    Math.max(0, Math.abs(fillOf(bytes, place) - meanFill) - tolerance);
  const unevenness = (place: Place, bytes: number) =>
    (fillOf(bytes, place) - meanFill) ** 2 * place.limitBytes;

  const refused: BalancePlan['refused'][number][] = [];
  const steps: (Step & Pick<Move, 'reason' | 'warnings'>)[] = [];
  for (;;) {
    const moved = new Set(steps.map(({ candidate }) => keyOf(candidate)));
    const movable = candidates.filter((candidate) => !moved.has(keyOf(candidate)));
    const step = bestStep(movable, places, { meanFill, beyond, unevenness }, (candidate, to) =>
      refused.some((each) => each.vm === candidate.vm && each.to === to),
    );
    if (!step) break;
    const { candidate, to } = step;
    const findings = await dryRun({ ...candidate, to: to.node });
    const refusal = findings.find(({ level }) => level === 'refusal');
    if (refusal) {
      refused.push({ vm: candidate.vm, to: to.node, code: refusal.code, message: refusal.message });
      continue;
    }
    const full = (place: Place) => `${place.node} is ${Math.round(100 * fillOf(place.bytes, place))} % full`;
    const reason = `${full(step.from)}, ${full(to)}`;
    const warnings = findings.filter(({ level }) => level === 'warning');
    apply(step, 1);
    to.mostBytes += candidate.memoryBytes;
    steps.push({ ...step, reason, warnings });
  }

  const total = () => sum(places, (place) => beyond(place));
  const needed = steps.filter((step) => {
    const with_ = total();
    apply(step, -1);
    if (total() <= with_ + EPSILON) return false;
    apply(step, 1);
    return true;
  });
  return {
    moves: needed.map(({ candidate, to, reason, warnings }) => ({
      ...candidate,
      to: to.node,
      reason,
      warnings,
    })),
    nodes: places.map(({ node, limitBytes, beforeBytes, bytes }) => ({
      ...{ node, limitBytes, beforeBytes },
      afterBytes: bytes,
    })),
    meanFill,
    balanced: total() <= EPSILON,
    refused,
  };
}

interface Measure {
  readonly meanFill: number;
  readonly beyond: (place: Place, bytes?: number) => number;
  readonly unevenness: (place: Place, bytes: number) => number;
}

/** The move that takes the most off what is beyond the tolerance; undefined if none takes anything. */
function bestStep(
  candidates: readonly Candidate[],
  places: readonly Place[],
  { meanFill, beyond, unevenness }: Measure,
  isRefused: (candidate: Candidate, to: string) => boolean,
): Step | undefined {
  const byNode = new Map(places.map((place) => [place.node, place]));
  const emptier = places.filter((place) => fillOf(place.bytes, place) < meanFill);
  let best: Step | undefined;
  for (const candidate of candidates) {
    const { memoryBytes } = candidate;
    const from = byNode.get(candidate.from);
    if (!from || fillOf(from.bytes, from) <= meanFill) continue;
    for (const to of emptier) {
      if (to.mostBytes + memoryBytes > to.limitBytes || isRefused(candidate, to.node)) continue;
      const less = from.bytes - memoryBytes;
      const more = to.bytes + memoryBytes;
      const gain = beyond(from) + beyond(to) - beyond(from, less) - beyond(to, more);
      if (gain <= EPSILON) continue;
      const evening =
        unevenness(from, from.bytes) +
        unevenness(to, to.bytes) -
        unevenness(from, less) -
        unevenness(to, more);
      const step = { candidate, from, to, gain, evening };
      if (!best || isBetter(step, best)) best = step;
    }
  }
  return best;
}

function isBetter(a: Step, b: Step): boolean {
  if (Math.abs(a.gain - b.gain) > EPSILON) return a.gain > b.gain;
  if (a.evening !== b.evening) return a.evening > b.evening;
  return (compareNames(a.candidate.vm, b.candidate.vm) || compareNames(a.to.node, b.to.node)) < 0;
}

function apply({ candidate, from, to }: Step, times: 1 | -1): void {
  from.bytes -= times * candidate.memoryBytes;
  to.bytes += times * candidate.memoryBytes;
}

function keyOf({ vm, from }: Candidate): string {
  return `${vm} ${from}`;
}

function sum<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
