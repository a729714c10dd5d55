import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatDuration } from '../../shared/units.js';
import type { ClockOffset, ExaminedNode } from './examination.js';

/** Migrations have their turns by the clocks of the nodes that ask for them: by so much one may go before its turn. ms */
export const CLOCK_NOTICE_MS = 500;

/** The clock of a node beside the others': ahead of the one in their middle, to within the bound, which is 0 for that one itself. */
export interface ComparedClock extends ClockOffset {
  readonly node: string;
}

/** All clocks that were read, beside the one in their middle: of two, the one that is behind. */
export function compareClocks(nodes: readonly Pick<ExaminedNode, 'node' | 'clock'>[]): ComparedClock[] {
  const read = nodes
    .flatMap(({ node, clock }) => (clock ? [{ node, ...clock }] : []))
    .sort((a, b) => a.aheadMs - b.aheadMs);
  const middle = read[Math.floor((read.length - 1) / 2)];
  if (!middle) return [];
  return read.map(({ node, aheadMs, boundMs }) => ({
    node,
    aheadMs: aheadMs - middle.aheadMs,
    boundMs: node === middle.node ? 0 : boundMs + middle.boundMs,
  }));
}

/** Of the node among those: null where there is nothing to compare it with. */
export function clockFinding(node: string, clocks: readonly ComparedClock[]): PreflightFinding | null {
  const clock = clocks.find((each) => each.node === node);
  if (!clock || clocks.length < 2) return null;
  const { aheadMs, boundMs } = clock;
  const [first, second] = clocks as [ComparedClock, ComparedClock];
  const others =
    clocks.length === 2 ? `that of node ${first.node === node ? second.node : first.node}` : "the others'";
  const within = `± ${formatDuration(boundMs)}`;
  if (boundMs === 0)
    return { level: 'ok', code: 'clock', message: 'other clocks are compared with this one' };
  // What is not sure is not told as a fault.
  if (Math.abs(aheadMs) - boundMs <= CLOCK_NOTICE_MS) {
    const message = `the clock agrees with ${others} to ${formatDuration(Math.abs(aheadMs) + boundMs)}`;
    return { level: 'ok', code: 'clock', message };
  }
  return {
    ...{ level: 'warning', code: 'clock-offset' },
    message: `the clock is ${formatDuration(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead of' : 'behind'} ${others} (${within}): migrations asked for here have their turns ${aheadMs > 0 ? 'too late' : 'too early'}`,
    remedy: "have chrony or systemd-timesyncd keep it, and look at 'chronyc tracking' or 'timedatectl'",
  };
}
