import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { PAGE_SIZE } from '../../shared/page.js';
import { type WorkingSet, writeRate } from './dirtying.js';
import type { PrecopyGuest } from './precopy.js';
import type { Scenario, SizeRange } from './scenario.js';

export interface ClusterGuest extends PrecopyGuest {
  readonly memoryBytes: number;
  /** Number of the node that it is on at first. */
  readonly node: number;
}

export interface Cluster {
  /** Of each node's network card, in each direction. bytes/ms */
  readonly linkRates: readonly number[];
  readonly guests: readonly ClusterGuest[];
}

/** Numbers that a seed determines. */
export class Draws {
  readonly #generator: ReturnType<typeof xoroshiro128plus>;

  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed);
  }

  /** 0 or more, below 1. */
  share(): number {
    return uniformFloat64(this.#generator);
  }

  /** 0 or more, below `count`. */
  index(count: number): number {
    return Math.floor(this.share() * count);
  }

  /** Sizes spread over orders of magnitude, so the logarithm is what is drawn evenly. */
  size({ from, to }: SizeRange): number {
    return from === to ? from : from * (to / from) ** this.share();
  }
}

export function buildCluster({ nodes, guests: kinds }: Scenario, draws: Draws): Cluster {
  const linkRates: number[] = [];
  const guests: ClusterGuest[] = [];
  const shares = kinds.reduce((sum, { share }) => sum + share, 0);
  for (const group of nodes) {
    for (let each = 0; each < group.count; each += 1) {
      const node = linkRates.push(group.link / 1000) - 1;
      for (let guest = 0; guest < group.guests; guest += 1) {
        let ticket = draws.share() * shares;
        const kind = kinds.find(({ share }) => (ticket -= share) < 0) ?? kinds.at(-1)!;
        const memoryBytes = wholePages(draws.size(kind.memory));
        guests.push({
          node,
          memoryBytes,
          populatedBytes: wholePages(memoryBytes * kind.populated),
          writes: kind.writes.map(({ set, rate, order }) => ({
            bytes: set,
            bytesPerMs: rate / 1000,
            order,
          })),
        });
      }
    }
  }
  return { linkRates, guests };
}

function wholePages(bytes: number): number {
  return Math.max(1, Math.round(bytes / PAGE_SIZE)) * PAGE_SIZE;
}

/** The mean write rate of the guests to the mean rate of the links. */
export function dirtyRatio({ linkRates, guests }: Cluster): number {
  const mean = (values: readonly number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
  return guests.length === 0 ? 0 : mean(guests.map(({ writes }) => writeRate(writes))) / mean(linkRates);
}

/** The same cluster, with guests that write so many times as fast. */
export function withWritesTimes(cluster: Cluster, factor: number): Cluster {
  const faster = (set: WorkingSet) => ({ ...set, bytesPerMs: set.bytesPerMs * factor });
  return {
    ...cluster,
    guests: cluster.guests.map((guest) => ({ ...guest, writes: guest.writes.map(faster) })),
  };
}
