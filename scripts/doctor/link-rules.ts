import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatRate } from '../../shared/units.js';
import { median } from '../bench/median.js';
import type { ExaminedNode, MeasuredLink } from './examination.js';
import { waysOf } from './pair-rules.js';

/** Below this share of what it could be, a rate is told as slow: of its interfaces, of the other direction, of the other pairs. */
const SLOW_SHARE = 0.5;

/** With fewer links there is no telling what is usual. */
const ENOUGH_LINKS = 6;

/** Why a link was left alone: nothing is wrong with it by that. */
const LEFT_ALONE: Readonly<Record<string, string>> = {
  'pair-busy': 'a migration has one of the two nodes',
  'target-out-of-memory': 'VMs leave no guest memory free to measure with',
  'shutting-down': 'one of the two agents is ending',
};

/** What is so of the links of a pair, among all that were measured. */
export function linkFindings(
  a: ExaminedNode,
  b: ExaminedNode,
  links: readonly MeasuredLink[],
): PreflightFinding[] {
  const between = links.filter(({ from, to }) => [from, to].sort().join() === [a.node, b.node].sort().join());
  const speeds = waysOf(a, b).flatMap(({ found }) => found?.path?.interfaceSpeed ?? []);
  const bound = speeds.length > 0 ? Math.min(...speeds) / 8 : null;
  const rates = links.flatMap(({ bytesPerSecond }) => bytesPerSecond ?? []);
  const usual = rates.length >= ENOUGH_LINKS ? median(rates) : null;
  return between.flatMap((link) => {
    const back = between.find(({ from }) => from === link.to)?.bytesPerSecond ?? null;
    return findingsOf(link, { bound, back, usual });
  });
}

interface Expected {
  /** What its interfaces carry, the other direction carried, and links usually do here. bytes/s */
  readonly bound: number | null;
  readonly back: number | null;
  readonly usual: number | null;
}

function findingsOf(link: MeasuredLink, expected: Expected): PreflightFinding[] {
  const { bytesPerSecond: rate, error } = link;
  const way = `from ${link.from} to ${link.to}`;
  const remedy =
    "look for other traffic, busy processors, a port at a lower speed or a bad cable; 'vmferry bench link --agents' measures longer";
  if (error?.code === 'timeout') {
    return [{ level: 'warning', code: 'link-slow', message: `${way}: ${error.message}`, remedy }];
  }
  const reason = error && LEFT_ALONE[error.code];
  if (reason)
    return [{ level: 'ok', code: 'link-not-measured', message: `${way} was not measured: ${reason}` }];
  if (error || rate === null) {
    const message = `pages do not get ${way}: ${error?.message ?? 'the test told nothing'}`;
    return [{ level: 'refusal', code: 'link-failed', message, remedy: 'what the message names' }];
  }
  const slow = slowness(rate, expected);
  const findings: PreflightFinding[] = [
    slow === null
      ? { level: 'ok', code: 'link-rate', message: `${way}: ${formatRate(rate)}` }
      : { level: 'warning', code: 'link-slow', message: `${way}: ${formatRate(rate)}, ${slow}`, remedy },
  ];
  if (link.finding) {
    findings.push({
      ...{ level: 'warning', code: 'link-transport', message: `${way}: ${link.finding.message}` },
      ...(link.finding.remedy !== undefined && { remedy: link.finding.remedy }),
    });
  }
  return findings;
}

function slowness(rate: number, { bound, back, usual }: Expected): string | null {
  if (bound !== null && rate < SLOW_SHARE * bound) return `and its interfaces carry ${formatRate(bound)}`;
  if (back !== null && rate < SLOW_SHARE * back) return `and back ${formatRate(back)}`;
  if (usual !== null && rate < SLOW_SHARE * usual) return `where ${formatRate(usual)} is usual`;
  return null;
}
