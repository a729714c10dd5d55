import type {
  ClusterQueueEntry,
  ClusterReport,
  GuestInfo,
  GuestStatus,
  MigrationInfo,
} from '../../../shared/api.js';
import { MigrationError } from '../../../shared/errors.js';
import type { Candidate } from '../../../scripts/cli/placement/node-guests.js';
import type { NodeLoad } from '../../../scripts/cli/placement/node-load.js';
import type { DryRun } from '../../../scripts/cli/placement/plan-moves.js';
import { guestInfo, migrationInfo, nodeInfo } from '../../support/api-samples.js';

export const GIB = 2 ** 30;

export function load(
  node: string,
  limitGib: number,
  takenGib: number,
  more: Partial<NodeLoad> = {},
): NodeLoad {
  return {
    ...{ node, limitBytes: limitGib * GIB, takenBytes: takenGib * GIB, leavingBytes: 0, migrations: 0 },
    closed: null,
    ...more,
  };
}

export function closed(node: string, code: string, message: string): NodeLoad {
  return load(node, 100, 0, { closed: { node, code, message } });
}

export function candidate(vm: string, from: string, gib: number): Candidate {
  return { vm, from, memoryBytes: gib * GIB };
}

/** Refuses the moves that are named like 'vm to', with a code for each; records what it was asked. */
export function dryRuns(refusals: Record<string, string> = {}): { asked: string[]; dryRun: DryRun } {
  const asked: string[] = [];
  const dryRun: DryRun = ({ vm, to }) => {
    asked.push(`${vm} ${to}`);
    const code = refusals[`${vm} ${to}`];
    return Promise.resolve(
      code === undefined
        ? [{ level: 'warning', code: 'version-differs', message: 'it is another version' }]
        : [{ level: 'refusal', code, message: `${to} refuses ${vm}` }],
    );
  };
  return { asked, dryRun };
}

/** A node of a report: its VMs by name, with their status. */
export function clusterNode(
  node: string,
  guests: Record<string, GuestStatus | Partial<GuestInfo>>,
  more: { usedGib?: number; drained?: boolean; migrations?: MigrationInfo[] } = {},
): ClusterReport['nodes'][number] {
  const { usedGib = 0, drained = false, migrations = [] } = more;
  return {
    node,
    url: `http://${node}`,
    error: null,
    status: {
      node: { ...nodeInfo, node, drained, memoryUsedBytes: usedGib * GIB, memoryLimitBytes: 8 * GIB },
      guests: Object.entries(guests).map(([name, status]) =>
        guestInfo({ name, memoryBytes: GIB, ...(typeof status === 'string' ? { status } : status) }),
      ),
      migrations,
    },
  };
}

export function silentNode(node: string): ClusterReport['nodes'][number] {
  const error = new MigrationError('peer-unreachable', `node ${node} can't be reached`).toJSON();
  return { node, url: `http://${node}`, status: null, error };
}

export function report(nodes: ClusterReport['nodes'], queue: ClusterQueueEntry[] = []): ClusterReport {
  return { node: nodes[0]!.node, at: '2026-11-22T22:00:00.000Z', nodes, queue };
}

export function queued(vm: string, from: string, to: string): ClusterQueueEntry {
  return {
    ...{ migration: `m-${vm}`, vm, from, to, requestedAt: '2026-11-22T22:00:00.000Z', priority: 0 },
    ...{ state: 'waiting', waitsFor: [{ node: to, holder: null }], overtaken: 0, overtakeLimit: 8 },
    ...{ positions: [{ node: from, position: 1 }], expectedStart: null },
  };
}

export function leaving(vm: string, from: string, to: string): MigrationInfo {
  return migrationInfo({ id: `m-${vm}`, vm, from, to, phase: 'queued' });
}
