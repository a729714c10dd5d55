import { formatBytes } from '../../../shared/units.js';
import { formatTable } from '../table.js';
import type { Stuck } from './node-guests.js';
import type { Move } from './plan-moves.js';

/** Moves that are planned, for people. */
export function moveTable(moves: readonly Move[]): string {
  return formatTable(
    [
      { heading: 'vm' },
      { heading: 'memory', figures: true },
      { heading: 'from' },
      { heading: 'to' },
      { heading: 'because' },
    ],
    moves.map(({ vm, memoryBytes, from, to, reason, warnings }) => [
      vm,
      formatBytes(memoryBytes),
      from,
      to,
      [reason, ...warnings.map(({ code }) => `warning: ${code}`)].join('; '),
    ]),
  );
}

/** VMs that can go nowhere, each with the reason of each node below it; nodes with the same reason on one line. */
export function stuckLines(stuck: readonly Stuck[]): string[] {
  return stuck.flatMap(({ vm, from, reasons }) => {
    const nodesOf = new Map<string, string[]>();
    for (const { node, code, message } of reasons) {
      const words = `${message} (${code})`;
      nodesOf.set(words, [...(nodesOf.get(words) ?? []), node]);
    }
    const lines = [...nodesOf].map(([words, nodes]) => `  ${nodes.join(', ')}: ${words}`);
    return [`${vm} can't leave ${from}${lines.length === 0 ? ': there is no other node' : ':'}`, ...lines];
  });
}
