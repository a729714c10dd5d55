import { toMigrationError } from '../../shared/errors.js';
import { median } from '../bench/median.js';
import type { MeasuredLink } from './examination.js';
import type { AskedNode } from './examine-cluster.js';
import { isPair, pairFindings } from './pair-rules.js';

/** What one measurement sends at most, and takes: at 1 Gbit/s three quarters of a second, and the nodes are held for that. */
const MEASURE = { bytes: 32 * 2 ** 20, rounds: 3, maxMs: 5000 };

/**
 * Sends memory over the links of all pairs, both ways, one after the other, so that none disturbs another. Each holds both nodes as a
 * migration does, and is left alone where one of them is not free. `progress` hears of each before it begins.
 */
export async function measureLinks(
  nodes: readonly AskedNode[],
  progress: (line: string) => void,
): Promise<MeasuredLink[]> {
  const links: MeasuredLink[] = [];
  for (const from of nodes) {
    for (const to of nodes) {
      // One that can't migrate can't be measured either, and has been told of.
      if (from === to || from.error || !isPair(from, to)) continue;
      if (from.peers?.every(({ node }) => node !== to.node) ?? true) continue;
      if (pairFindings(from, to).some(({ level }) => level === 'refusal')) continue;
      progress(`measuring from ${from.node} to ${to.node}`);
      links.push(await measure(from, to.node));
    }
  }
  return links;
}

async function measure({ node: from, client }: AskedNode, to: string): Promise<MeasuredLink> {
  const link = { from, to, bytesPerSecond: null, error: null, finding: null };
  try {
    const { bytesPerSecond, streams } = await client.testLink({ to, ...MEASURE, wait: false });
    // The first round touches memory for the first time.
    const warm = bytesPerSecond.length > 1 ? bytesPerSecond.slice(1) : bytesPerSecond;
    return { ...link, bytesPerSecond: median(warm), finding: streams.finding ?? null };
  } catch (thrown) {
    return { ...link, error: toMigrationError(thrown, 'peer-failed').toJSON() };
  }
}
