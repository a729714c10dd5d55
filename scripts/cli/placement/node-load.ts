import type { ClusterReport } from '../../../shared/api.js';

/** Why a VM can't go somewhere. */
export interface Reason {
  readonly node: string;
  readonly code: string;
  readonly message: string;
}

/** A node as a place for VMs. */
export interface NodeLoad {
  readonly node: string;
  /** Memory for VMs. bytes */
  readonly limitBytes: number;
  /** What VMs take that are there, or have been asked to come. bytes */
  readonly takenBytes: number;
  /** How much of that has been asked to leave. bytes */
  readonly leavingBytes: number;
  /** Migrations from and to it that run or wait. */
  readonly migrations: number;
  /** Why nothing may go there; null if something may. */
  readonly closed: Reason | null;
}

/** All nodes of the cluster, with what is on its way to them counted in. */
export function nodeLoads({ nodes, queue }: ClusterReport): NodeLoad[] {
  const memoryOf = (vm: string, from: string): number =>
    nodes.find(({ node }) => node === from)?.status?.guests.find(({ name }) => name === vm)?.memoryBytes ?? 0;
  return nodes.map(({ node, status, error }): NodeLoad => {
    if (!status) {
      const { code, message } = error ?? { code: 'peer-failed', message: `node ${node} says nothing` };
      return { ...NOTHING, node, closed: { node, code, message } };
    }
    const { memoryUsedBytes, memoryLimitBytes, drained } = status.node;
    const there = new Set(status.guests.flatMap((guest) => (guest.status === 'stopped' ? [] : [guest.name])));
    const coming = queue.filter(({ to, vm }) => to === node && !there.has(vm));
    const leaving = queue.filter(({ from }) => from === node);
    const sum = (entries: typeof queue) =>
      entries.reduce((bytes, { vm, from }) => bytes + memoryOf(vm, from), 0);
    return {
      node,
      limitBytes: memoryLimitBytes,
      takenBytes: memoryUsedBytes + sum(coming),
      leavingBytes: sum(leaving),
      migrations: queue.filter(({ from, to }) => from === node || to === node).length,
      closed: drained ? { node, code: 'node-drained', message: `node ${node} is drained` } : null,
    };
  });
}

const NOTHING = { limitBytes: 0, takenBytes: 0, leavingBytes: 0, migrations: 0 };

/** How full a node is with so much memory taken: 0 to 1. */
export function fillOf(takenBytes: number, { limitBytes }: Pick<NodeLoad, 'limitBytes'>): number {
  return limitBytes === 0 ? 1 : takenBytes / limitBytes;
}
