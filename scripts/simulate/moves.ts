import TinyQueue from 'tinyqueue';
import type { Cluster, Draws } from './cluster.js';
import type { Scenario } from './scenario.js';

/** A guest, by its number, and the node that it is to move to. */
export interface Move {
  readonly guest: number;
  readonly to: number;
}

/** Moves that are asked for at once, in this order, by where each guest is; the next ones once all of these have ended. */
export type Wave = (at: readonly number[]) => Move[];

/** What is to be moved, wave after wave. */
export function planMoves(moves: Scenario['moves'], cluster: Cluster, draws: Draws): Wave[] {
  switch (moves.kind) {
    case 'drain':
      return [drainOf(cluster, 0, moves.nodes)];
    case 'rolling': {
      const waves = Math.ceil(cluster.linkRates.length / moves.batch);
      return Array.from({ length: waves }, (_, wave) =>
        drainOf(cluster, wave * moves.batch, (wave + 1) * moves.batch),
      );
    }
    case 'pairs': {
      const pairs = randomPairs(cluster, moves.count, draws);
      return [() => pairs];
    }
  }
}

interface Room {
  readonly node: number;
  usedBytes: number;
}

/**
 * Empties the nodes from `first` up to before `end`: each guest goes to the node with the least memory of guests, those
 * that come included. All of these nodes begin at once, so their guests are asked for in turn.
 */
function drainOf({ linkRates, guests }: Cluster, first: number, end: number): Wave {
  return (at) => {
    const drained = (node: number) => node >= first && node < end;
    const rooms = linkRates.map((_, node): Room => ({ node, usedBytes: 0 }));
    const leaving = new Map<number, number[]>();
    for (const [guest, node] of at.entries()) {
      if (drained(node)) leaving.set(node, [...(leaving.get(node) ?? []), guest]);
      else rooms[node]!.usedBytes += guests[guest]!.memoryBytes;
    }
    const targets = new TinyQueue(
      rooms.filter(({ node }) => !drained(node)),
      (a, b) => a.usedBytes - b.usedBytes || a.node - b.node,
    );
    const moves: Move[] = [];
    const most = Math.max(0, ...[...leaving.values()].map(({ length }) => length));
    for (let turn = 0; turn < most; turn += 1) {
      for (const list of leaving.values()) {
        const guest = list[turn];
        const target = guest === undefined ? undefined : targets.pop();
        if (guest === undefined || !target) continue;
        moves.push({ guest, to: target.node });
        targets.push({ ...target, usedBytes: target.usedBytes + guests[guest]!.memoryBytes });
      }
    }
    return moves;
  };
}

/** Guests drawn one by one, none twice, each with a node drawn from the others. */
function randomPairs({ linkRates, guests }: Cluster, count: number, draws: Draws): Move[] {
  const left = guests.map((_, guest) => guest);
  return Array.from({ length: count }, () => {
    const index = draws.index(left.length);
    const guest = left[index]!;
    left[index] = left.at(-1)!;
    left.pop();
    const other = draws.index(linkRates.length - 1);
    return { guest, to: other < guests[guest]!.node ? other : other + 1 };
  });
}
