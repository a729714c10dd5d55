/**
 * What each of many flows gets of the network cards that they share: max-min fair, as TCP streams of one round-trip time about
 * do. No flow can get more but at the cost of one that has no more (Bertsekas and Gallager, Data Networks, 2nd edition, 6.5.2).
 *
 * A node's card is two ports, since it is full duplex. Each port has a level, the most that it gives to one flow: such that it is full if
 * each of its flows takes that or, if this is less, what its other port or its own limit allow. A flow's rate is the least of
 * the three. Where a flow comes or goes its ports find their levels anew, and ports whose flows these limit follow, until
 * nothing changes: the lowest level of all depends on no other, so it is right as soon as it was looked at, then the next, and so on
 * (Charny, Clark and Jain, Congestion control with explicit rate indication, ICC 1995). So a change costs what it reaches, not
 * the size of the cluster.
 */

/** One direction of a node's network card. */
interface Port {
  readonly capacity: number;
  readonly flows: Set<Flow>;
  level: number;
  changed: boolean;
}

export interface Flow {
  readonly from: Port;
  readonly to: Port;
  /** Its own limit; Infinity: none. bytes/ms */
  readonly limit: number;
  /** As of the last settle(). bytes/ms */
  readonly rate: number;
}

/** A change by less is rounding, and is not followed any further. */
const LEAST_CHANGE = 1e-9;

export class FairShares<Owner> {
  readonly #sending: readonly Port[];
  readonly #receiving: readonly Port[];
  readonly #owners = new Map<Flow, Owner>();
  readonly #changed: Port[] = [];

  /** `capacities`: of each node's card, in each direction. bytes/ms */
  constructor(capacities: readonly number[]) {
    const port = (capacity: number): Port => ({
      capacity,
      flows: new Set(),
      level: capacity,
      changed: false,
    });
    this.#sending = capacities.map(port);
    this.#receiving = capacities.map(port);
  }

  /** A flow between two nodes, by their numbers; its rate is 0 until settle(). */
  add(from: number, to: number, limit: number, owner: Owner): Flow {
    const flow = { from: this.#sending[from]!, to: this.#receiving[to]!, limit, rate: 0 };
    this.#owners.set(flow, owner);
    for (const port of [flow.from, flow.to]) {
      port.flows.add(flow);
      this.#mark(port);
    }
    return flow;
  }

  remove(flow: Flow): void {
    this.#owners.delete(flow);
    for (const port of [flow.from, flow.to]) {
      port.flows.delete(flow);
      this.#mark(port);
    }
  }

  /** Brings all shares up to date. Returns the owners of those that changed, in the order in which these were found. */
  settle(): Owner[] {
    const touched = new Set<Flow>();
    for (let port = this.#changed.shift(); port; port = this.#changed.shift()) {
      port.changed = false;
      const level = levelOf(port);
      const same = isSame(level, port.level);
      if (!same) port.level = level;
      for (const flow of port.flows) {
        // A flow that has just come has no rate yet.
        if (same && flow.rate > 0) continue;
        touched.add(flow);
        if (!same) this.#mark(flow.from === port ? flow.to : flow.from);
      }
    }
    const owners: Owner[] = [];
    for (const flow of touched) {
      const rate = Math.min(flow.limit, flow.from.level, flow.to.level);
      if (isSame(rate, flow.rate)) continue;
      (flow as { rate: number }).rate = rate;
      owners.push(this.#owners.get(flow)!);
    }
    return owners;
  }

  #mark(port: Port): void {
    if (port.changed) return;
    port.changed = true;
    this.#changed.push(port);
  }
}

/** The level at which the port is full, or that of its whole capacity where its flows can't fill it. */
function levelOf(port: Port): number {
  const wanted = [...port.flows]
    .map((flow) => Math.min(flow.limit, flow.from === port ? flow.to.level : flow.from.level))
    .sort((a, b) => a - b);
  let left = port.capacity;
  for (const [index, each] of wanted.entries()) {
    const share = left / (wanted.length - index);
    if (each >= share) return share;
    left -= each;
  }
  return port.capacity;
}

function isSame(a: number, b: number): boolean {
  return Math.abs(a - b) <= LEAST_CHANGE * Math.max(a, b);
}
