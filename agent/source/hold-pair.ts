import { type QueueEntry } from '../../shared/api.js';
import type { NodeAddress } from '../node-address.js';
import type { SourceControl } from '../link/link.js';
import type { NodeLock } from '../lock/node-lock.js';
import { remoteNodeLock } from '../lock/node-lock-port.js';
import { acquirePair, type PairHold } from '../lock/pair-lock.js';
import type { PeerDialer } from './peer-dialer.js';

export interface HoldPairContext {
  readonly node: string;
  readonly lock: NodeLock;
  readonly lockGraceMs: number;
  readonly dialer: PeerDialer;
}

export interface HoldPairRequest {
  /** Id of what holds it. */
  readonly migration: string;
  readonly vm: string;
  readonly to: NodeAddress;
  /** Unix time in ms: its place in the queues. */
  readonly requestedAt: number;
  readonly priority?: number;
  /** As acquirePair has them. */
  readonly wait?: boolean;
  readonly returning?: boolean;
  readonly signal: AbortSignal;
  readonly onQueue?: (queue: QueueEntry) => void;
  /** Each control connection that was opened, the latest being the one in use. */
  readonly onControl?: (control: SourceControl) => void;
}

/** This node and another one, held for one migration, with the control connection that carries it. */
export interface HeldPair {
  readonly id: string;
  readonly hold: PairHold;
  readonly control: SourceControl;
  /** What both agents can do beyond the protocol's version. */
  readonly features: readonly string[];
}

/** Waits in the queues of both nodes until both are held. Throws what acquirePair does, and what opening the connection does. */
export async function holdPair(
  { node, lock, lockGraceMs, dialer }: HoldPairContext,
  request: HoldPairRequest,
): Promise<HeldPair> {
  const { migration, vm, to, requestedAt, priority = 0, signal, onQueue, onControl } = request;
  let opened: Pick<HeldPair, 'control' | 'features'> | null = null;
  const hold = await acquirePair({
    request: { migration, vm, from: node, to: to.node, requestedAt, priority },
    wait: request.wait ?? true,
    returning: request.returning ?? false,
    local: lock.localPort(migration, to.node),
    remote: {
      node: to.node,
      connect: async (connecting) => {
        const { control, handshake } = await dialer.control(to, migration, connecting);
        opened = { control, features: handshake.features };
        onControl?.(control);
        return remoteNodeLock(to.node, control);
      },
    },
    signal,
    reconnectMs: lockGraceMs,
    overtakeLimit: lock.overtakeLimit,
    onQueue: onQueue ?? (() => undefined),
  });
  return { id: migration, hold, ...opened! };
}
