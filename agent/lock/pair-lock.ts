import type { QueueEntry } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { InOrder } from '../../shared/in-order.js';
import type { LockAnswer, LockCommand, LockStatus } from './lock-messages.js';
import { LEASE_GRACE_MS, OVERTAKE_LIMIT } from '../../shared/lock-limits.js';
import type { NodeLockPort } from './node-lock-port.js';
import {
  newPair,
  otherSide,
  transition,
  type PairEffect,
  type PairEvent,
  type PairState,
  type Side,
} from './pair-acquisition.js';
import { lockOrder, type PairRequest } from './pair.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/**
 * The pair lock: both nodes' locks, held together for one migration. The source's agent coordinates; it speaks to
 * its own node lock by calls and to the target's over the control connection, in the same words:
 *
 *        lower node               coordinator               higher node
 *             <----- lock-request -----  ------ lock-request ----->      a place in both queues
 *             <------- lock-try -------
 *             ------ lock-granted ---->                                  tentatively
 *                                        -------- lock-try ------->
 *                                        <------ lock-busy --------      ... and watch for me
 *             <------ lock-pass -------                                  the lower node is not held idle
 *                                        <------ lock-offer -------      it became free: tentatively
 *             <------- lock-try -------
 *             ------ lock-granted ---->
 *             <---- lock-confirm ------  ------ lock-confirm ----->      the migration runs
 *             <---- lock-release ------  ------ lock-release ----->
 *
 * A waiter watches one node at a time, one that it could not have; when that is offered, it tries the other. If
 * that is taken by then, it passes the offer on and watches the other one. So a node that is free goes to the
 * first in the order of arrival that can use it, and nobody waits for one node while it holds the other.
 *
 * No deadlock: what is held tentatively is given back at once if the other node is running another migration or
 * kept. Only where the other node is itself held tentatively may it be worth waiting for that decision, and then
 * only the earlier in the order of arrival waits for the later; the later one is answered busy at once. A chain of
 * waits leads to ever later migrations, and its end does not wait. So it also is the earlier one that gets both
 * nodes, where each has one that the other needs.
 *
 * No livelock: while no migration starts or ends, the earliest waiter is told busy only by nodes that are running
 * or kept, and stays with the one that it then watches. From then on it beats no other, and the same holds for
 * the next, and so on. After finitely many answers something starts, or every waiter watches a node that is
 * running or kept.
 *
 * No starvation: who starts counts as overtaking the earlier ones in the queues of its two nodes. At the limit the
 * node is kept for the waiter, and the coordinator has the other node kept too (lock-keep): a kept node goes to
 * none that came later. The order is the same everywhere, so of all that are kept the earliest waits only for
 * running migrations and for the finitely many that came before it. At each of its nodes, a waiter is overtaken
 * at most OVERTAKE_LIMIT times.
 *
 * Leases: the entry at the remote node lives as long as the control connection, and for a grace period after it,
 * in which the coordinator can come back to its place. What a vanished one had tentatively is free at once; what it
 * had running, when the grace period ends.
 */

/** How a coordinator reaches the remote node lock, at first and after the connection broke. */
export interface RemoteNode {
  readonly node: string;
  /**
   * Opens a control connection (hello done) and its lock; closing it is the caller's. What it throws ends the
   * wait at first; when it is called again, only what is not retryable does.
   */
  connect(signal: AbortSignal): Promise<NodeLockPort>;
}

export interface PairHold {
  /** The lock of the remote node, over the connection that is to carry the migration. */
  readonly remote: NodeLockPort;
  /** Aborted, with a MigrationError as its reason, if the remote lock is lost before it is released. */
  readonly lost: AbortSignal;
  /** Gives both nodes back. Harmless when repeated, and after a loss. */
  release(): void;
}

export interface AcquirePairOptions {
  request: PairRequest;
  local: NodeLockPort;
  remote: RemoteNode;
  /** Cancels the wait. No effect once the pair is held. */
  signal: AbortSignal;
  /** False: where one of the nodes is not free it fails with pair-busy, which names what has it. */
  wait?: boolean;
  /** It had its places before, and the remote node may be away: the first connection is tried as long as a broken one. */
  returning?: boolean;
  /** Called when the place in the queues has changed, while waiting. */
  onQueue?: (entry: QueueEntry) => void;
  overtakeLimit?: number;
  /** How long to try to come back after the connection was lost. ms; no longer than the remote lease lasts. */
  reconnectMs?: number;
  /** Wait before attempt n (0, 1, ...) to come back. ms */
  backoffMs?: (attempt: number) => number;
  timers?: Pick<Timers, 'after'>;
}

/**
 * Time that the remote node has to answer whether it is free, while the own one is held for that. ms; twice what it gives
 * the one before us to decide. Bounds how long a peer that hangs, connected, keeps this node idle.
 */
export const TRY_ANSWER_MS = 60_000;

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 2000;

function doublingBackoffMs(attempt: number): number {
  return Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(attempt, 10), MAX_BACKOFF_MS);
}

/**
 * Waits for both nodes of a migration. Rejects with MigrationError, in neither queue: `cancelled` (or the signal's
 * own reason, if that is a MigrationError); what the first connect fails with; link-lost if a broken connection
 * does not come back in time; what a node refuses the request with (duplicate-migration, limit-exceeded); pair-busy;
 * unexpected-message.
 */
export function acquirePair(options: AcquirePairOptions): Promise<PairHold> {
  return new Acquisition(options).outcome;
}

class Acquisition {
  readonly outcome: Promise<PairHold>;
  readonly #options: AcquirePairOptions;
  readonly #timers: Pick<Timers, 'after'>;
  readonly #remoteSide: Side;
  readonly #lost = new AbortController();
  /** Ends attempts to connect when the acquisition has ended. */
  readonly #ended = new AbortController();
  readonly #statuses = new Map<Side, LockStatus>();
  readonly #events = new InOrder<PairEvent>((event) => this.#step(event));
  #state: PairState;
  #remote: NodeLockPort | undefined;
  #attempt = 0;
  #lastFailure: MigrationError | undefined;
  #stopDeadline: (() => void) | undefined;
  #stopBackoff: (() => void) | undefined;
  #stopTry: (() => void) | undefined;
  #resolve!: (hold: PairHold) => void;
  #reject!: (error: MigrationError) => void;
  readonly #cancel = (): void => {
    const reason: unknown = this.#options.signal.reason;
    const { migration } = this.#options.request;
    this.#fail(
      reason instanceof MigrationError
        ? reason
        : new MigrationError(
            'cancelled',
            `migration ${migration} was cancelled while it waited for its nodes`,
          ),
    );
  };

  constructor(options: AcquirePairOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#remoteSide = lockOrder(options.request).lower === options.remote.node ? 'lower' : 'higher';
    this.#state = newPair(this.#remoteSide);
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (options.signal.aborted) {
      this.#cancel();
      return;
    }
    options.signal.addEventListener('abort', this.#cancel, { once: true });
    options.local.listen({
      answer: (message) => this.#answer(otherSide(this.#remoteSide), message),
      ended: (error) => this.#fail(error),
    });
    this.#connect(options.returning ?? false);
  }

  #connect(again: boolean): void {
    this.#options.remote.connect(this.#ended.signal).then(
      (port) => this.#connected(port),
      (thrown: unknown) => {
        if (this.#ended.signal.aborted) return;
        const error = toMigrationError(thrown, 'peer-unreachable');
        if (again && error.retryable) this.#retry(error);
        else this.#fail(error);
      },
    );
  }

  #connected(port: NodeLockPort): void {
    if (this.#state.state === 'ended') return;
    this.#remote = port;
    port.listen({
      answer: (message) => {
        if (this.#remote !== port) return;
        // Only now it is back: a peer that takes connections and drops them must not be tried for ever.
        this.#attempt = 0;
        this.#stopDeadline?.();
        this.#stopDeadline = undefined;
        this.#answer(this.#remoteSide, message);
      },
      ended: (error) => {
        if (this.#remote === port) this.#remoteEnded(error);
      },
    });
    this.#dispatch({ type: 'connected' });
  }

  #remoteEnded(error: MigrationError): void {
    if (this.#state.state === 'held') {
      this.#lost.abort(error);
      return;
    }
    // A vanished peer may come back; one that refuses has its reason.
    if (error.code !== 'link-lost') {
      this.#fail(error);
      return;
    }
    this.#remote = undefined;
    this.#dispatch({ type: 'disconnected' });
    this.#retry(error);
  }

  #retry(error: MigrationError): void {
    if (this.#state.state === 'ended') return;
    this.#lastFailure = error;
    const reconnectMs = this.#options.reconnectMs ?? LEASE_GRACE_MS;
    this.#stopDeadline ??= this.#timers.after(reconnectMs, () => this.#fail(this.#stayedAway(reconnectMs)));
    const backoffMs = this.#options.backoffMs ?? doublingBackoffMs;
    this.#stopBackoff = this.#timers.after(backoffMs(this.#attempt), () => this.#connect(true));
    this.#attempt += 1;
  }

  #stayedAway(reconnectMs: number): MigrationError {
    const { node } = this.#options.remote;
    const why = this.#lastFailure?.message ?? 'no reason known';
    return new MigrationError(
      'link-lost',
      `the control connection to node ${node} closed and did not come back within ${reconnectMs} ms: ${why}`,
      { cause: this.#lastFailure },
    );
  }

  #answer(side: Side, message: LockAnswer): void {
    switch (message.type) {
      case 'lock-granted':
        return this.#dispatch({ type: 'granted', side });
      case 'lock-busy':
        return this.#dispatch({ type: 'busy', side });
      case 'lock-offer':
        return this.#dispatch({ type: 'offer', side });
      case 'lock-status':
        this.#statuses.set(side, message);
        if (message.kept) this.#dispatch({ type: 'kept', side });
        if (this.#options.wait === false) this.#refuseToWait();
        else this.#reportPlace();
    }
  }

  #dispatch(event: PairEvent): void {
    this.#events.push(event);
  }

  #step(event: PairEvent): void {
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    this.#limitTry(state.state === 'trying' && state.holding && state.side === this.#remoteSide);
    for (const effect of effects) this.#perform(effect);
    if (this.#options.wait === false) this.#refuseToWait();
  }

  #limitTry(waits: boolean): void {
    if (!waits) {
      this.#stopTry?.();
      this.#stopTry = undefined;
      return;
    }
    this.#stopTry ??= this.#timers.after(TRY_ANSWER_MS, () => {
      const { node } = this.#options.remote;
      const text = `node ${node} did not say within ${TRY_ANSWER_MS} ms whether it is free`;
      this.#fail(new MigrationError('timeout', text));
    });
  }

  #perform(effect: PairEffect): void {
    switch (effect.type) {
      case 'held':
        return this.#held();
      case 'violation':
        return this.#fail(
          new MigrationError('unexpected-message', `node ${this.#node(effect.side)} ${effect.message}`),
        );
      case 'request': {
        const { vm, requestedAt, priority = 0 } = this.#options.request;
        // Where it is 0 it is left out: an agent that knows no priorities understands that.
        const raised = priority !== 0 && { priority };
        return this.#send(effect.side, { type: 'lock-request', vm, requestedAt, ...raised });
      }
      case 'try':
      case 'pass':
      case 'confirm':
      case 'keep':
      case 'release':
        return this.#send(effect.side, { type: `lock-${effect.type}` });
    }
  }

  /** Once it would have to wait, and it is known for what. */
  #refuseToWait(): void {
    const state = this.#state;
    if (state.state !== 'watching') return;
    const status = this.#statuses.get(state.side);
    if (!status) return;
    const node = this.#node(state.side);
    const reason = status.holder === '' ? 'is kept for an earlier one' : `runs migration ${status.holder}`;
    const text = `node ${node} ${reason}, and this migration is not to wait (--no-queue): ask again later, or let it wait`;
    this.#fail(new MigrationError('pair-busy', text));
  }

  #send(side: Side, command: LockCommand): void {
    const port = side === this.#remoteSide ? this.#remote : this.#options.local;
    port?.send(command);
  }

  #held(): void {
    const remote = this.#remote;
    if (!remote)
      throw new MigrationError('internal', 'a pair lock is held without a connection to its remote node');
    this.#stopWaiting();
    remote.mute();
    this.#resolve({
      remote,
      lost: this.#lost.signal,
      release: () => this.#dispatch({ type: 'end' }),
    });
  }

  #fail(error: MigrationError): void {
    if (this.#state.state === 'held') {
      this.#lost.abort(error);
      return;
    }
    this.#stopWaiting();
    this.#dispatch({ type: 'end' });
    this.#reject(error);
  }

  #stopWaiting(): void {
    this.#options.signal.removeEventListener('abort', this.#cancel);
    this.#ended.abort();
    this.#stopDeadline?.();
    this.#stopBackoff?.();
  }

  #node(side: Side): string {
    return side === this.#remoteSide ? this.#options.remote.node : this.#options.local.node;
  }

  #reportPlace(): void {
    const { onQueue, request } = this.#options;
    const state = this.#state;
    if (!onQueue || state.state === 'held' || state.state === 'ended') return;
    const here = this.#statuses.get(otherSide(this.#remoteSide));
    const sides: Side[] = ['lower', 'higher'];
    onQueue({
      migration: request.migration,
      vm: request.vm,
      from: request.from,
      to: request.to,
      requestedAt: new Date(request.requestedAt).toISOString(),
      priority: request.priority ?? 0,
      position: here?.position ?? this.#statuses.get(this.#remoteSide)?.position ?? 1,
      state: 'waiting',
      waitsFor: sides
        .map((side) => ({ side, node: this.#node(side), holder: this.#statuses.get(side)?.holder ?? '' }))
        .filter(({ side, holder }) => holder !== '' || (state.state === 'watching' && state.side === side))
        .map(({ node, holder }) => ({ node, holder: holder === '' ? null : holder })),
      overtaken: Math.max(0, ...[...this.#statuses.values()].map((status) => status.overtaken)),
      overtakeLimit: this.#options.overtakeLimit ?? OVERTAKE_LIMIT,
    });
  }
}
