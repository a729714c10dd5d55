import type { QueueEntry } from '../../shared/api.js';
import type { LockStatus } from './lock-messages.js';
import { findEntry, isKeptFromIt, occupant, type NodeQueue, type QueuedMigration } from './node-queue.js';

/** What operators and coordinators see of a node's queue. */

function position(state: NodeQueue, entry: QueuedMigration): number {
  if (entry.phase === 'running') return 0;
  return state.entries.filter((other) => other.phase !== 'running').indexOf(entry) + 1;
}

function holder(state: NodeQueue): string | null {
  const entry = occupant(state);
  return entry?.phase === 'running' ? entry.migration : null;
}

/** What a waiter is told of its place; undefined for one that has the node, tentatively or running, or is unknown. */
export function lockStatus(state: NodeQueue, migration: string): LockStatus | undefined {
  const entry = findEntry(state, migration);
  if (!entry || entry.phase === 'offered' || entry.phase === 'running') return undefined;
  return {
    type: 'lock-status',
    position: position(state, entry),
    overtaken: entry.overtaken,
    kept: entry.kept,
    holder: holder(state) ?? '',
  };
}

/**
 * What `entry` waits for as far as this node knows: itself, if another has it or it is kept for another; the
 * other node, where the migration waits there (who has that is for the other node to say: null).
 */
function waitsFor(state: NodeQueue, entry: QueuedMigration): QueueEntry['waitsFor'] {
  if (entry.phase === 'running') return [];
  const nodes: QueueEntry['waitsFor'] = [];
  const current = occupant(state);
  if ((current && current !== entry) || isKeptFromIt(state, entry)) {
    nodes.push({ node: state.node, holder: holder(state) });
  }
  if (entry.phase === 'parked' || entry.phase === 'offered') {
    nodes.push({ node: entry.from === state.node ? entry.to : entry.from, holder: null });
  }
  return nodes;
}

/** All entries, the running one first, then the waiting ones in order of arrival. */
export function queueEntries(state: NodeQueue): QueueEntry[] {
  return state.entries
    .map((entry): QueueEntry => ({
      migration: entry.migration,
      vm: entry.vm,
      from: entry.from,
      to: entry.to,
      requestedAt: new Date(entry.requestedAt).toISOString(),
      priority: entry.priority ?? 0,
      position: position(state, entry),
      state: entry.phase === 'running' ? 'running' : 'waiting',
      waitsFor: waitsFor(state, entry),
      overtaken: entry.overtaken,
      overtakeLimit: state.overtakeLimit,
    }))
    .sort((a, b) => a.position - b.position);
}
