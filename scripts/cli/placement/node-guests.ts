import type { GuestInfo, StatusReport } from '../../../shared/api.js';
import type { Reason } from './node-load.js';

/** A VM that is to be moved. */
export interface Candidate {
  readonly vm: string;
  readonly from: string;
  readonly memoryBytes: number;
}

/** A VM that has been asked to leave before. */
export interface UnderWay extends Candidate {
  readonly to: string;
  readonly migration: string;
}

/** A VM that can go nowhere, by the reasons of each node; of its own node alone where it is not as it must be. */
export interface Stuck {
  readonly vm: string;
  readonly from: string;
  readonly reasons: readonly Reason[];
}

export interface NodeGuests {
  readonly movable: readonly Candidate[];
  readonly underWay: readonly UnderWay[];
  readonly stuck: readonly Stuck[];
  /** VMs that are defined and not started: there is nothing of them to move. */
  readonly stopped: readonly string[];
}

/** What a node that is to be left has. */
export function nodeGuests({ node: { node }, guests, migrations }: StatusReport): NodeGuests {
  const movable: Candidate[] = [];
  const underWay: UnderWay[] = [];
  const stuck: Stuck[] = [];
  const stopped: string[] = [];
  for (const guest of guests) {
    const { name: vm, memoryBytes, status, migration } = guest;
    const leaving = migrations.find(
      ({ id, role, phase }) => id === migration && role === 'source' && phase !== 'ended',
    );
    const why = whyNot(guest);
    if (leaving) underWay.push({ vm, from: node, to: leaving.to, migration: leaving.id, memoryBytes });
    else if (why) stuck.push({ vm, from: node, reasons: [{ node, ...why }] });
    else if (status === 'stopped') stopped.push(vm);
    else movable.push({ vm, from: node, memoryBytes });
  }
  return { movable, underWay, stuck, stopped };
}

/** Why a VM as it is can't be moved, with the remedy. */
function whyNot({ name, status, migration, failure }: GuestInfo): Omit<Reason, 'node'> | null {
  const state = (message: string) => ({ code: 'wrong-state', message });
  if (status === 'unknown') {
    return {
      code: 'outcome-unknown',
      message: `the outcome of its last migration is not known: 'vmferry vm resolve ${name}'`,
    };
  }
  if (status === 'stray') return state(`${failure ?? 'its machine can not be reached'}`);
  if (status === 'incoming') return state('it is just arriving: try again when it is there');
  if (migration !== null) return state('a migration of it has just been asked for, or ends: try again');
  return failure === null ? null : { code: 'guest-failed', message: `${failure}: 'vmferry vm stop ${name}'` };
}
