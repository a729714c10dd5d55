import { OVERTAKE_LIMIT } from '../../shared/lock-limits.js';
import {
  emptyNodeQueue,
  transition as nodeTransition,
  type NodeQueue,
  type NodeQueueEvent,
} from '../../agent/lock/node-queue.js';
import {
  newPair,
  transition as pairTransition,
  type PairEvent,
  type PairState,
  type Side,
} from '../../agent/lock/pair-acquisition.js';
import { lockOrder, type PairRequest } from '../../agent/lock/pair.js';
import type { Admission, Requested } from './admission.js';

interface Acquisition {
  readonly migration: Requested;
  readonly request: PairRequest;
  pair: PairState;
}

/** What is on its way: to a node's queue, or to the coordinator of a migration. */
type Message =
  | { readonly to: 'node'; readonly node: string; readonly event: NodeQueueEvent }
  | { readonly to: 'coordinator'; readonly acquisition: Acquisition; readonly event: PairEvent };

/**
 * The pair lock: the product's own two state machines for all nodes and migrations, with connections between them that take no
 * time, lose nothing and deliver in the order of sending. Leases and the limit of a queue's length have no part in it.
 */
export class PairLocks implements Admission {
  readonly #start: (migration: Requested) => void;
  readonly #queues = new Map<string, NodeQueue>();
  readonly #acquisitions = new Map<string, Acquisition>();
  readonly #messages: Message[] = [];
  #delivering = false;

  constructor(start: (migration: Requested) => void) {
    this.#start = start;
  }

  request(migration: Requested): void {
    const request = {
      migration: idOf(migration.number),
      vm: '',
      from: idOf(migration.from),
      to: idOf(migration.to),
      requestedAt: migration.number,
    };
    const remote: Side = lockOrder(request).lower === request.to ? 'lower' : 'higher';
    const acquisition = { migration, request, pair: newPair(remote) };
    this.#acquisitions.set(request.migration, acquisition);
    this.#send({ to: 'coordinator', acquisition, event: { type: 'connected' } });
  }

  release({ number }: Requested): void {
    const acquisition = this.#acquisitions.get(idOf(number));
    if (acquisition) this.#send({ to: 'coordinator', acquisition, event: { type: 'end' } });
  }

  #send(message: Message): void {
    this.#messages.push(message);
    if (this.#delivering) return;
    this.#delivering = true;
    for (let next = 0; next < this.#messages.length; next += 1) {
      const each = this.#messages[next]!;
      if (each.to === 'node') this.#toNode(each.node, each.event);
      else this.#toCoordinator(each.acquisition, each.event);
    }
    this.#messages.length = 0;
    this.#delivering = false;
  }

  #toCoordinator(acquisition: Acquisition, event: PairEvent): void {
    const { request } = acquisition;
    const { migration } = request;
    const order = lockOrder(request);
    const { state, effects } = pairTransition(acquisition.pair, event);
    acquisition.pair = state;
    for (const effect of effects) {
      if (effect.type === 'held') this.#start(acquisition.migration);
      else if (effect.type === 'violation') throw new Error(`migration ${migration}: ${effect.message}`);
      else {
        const { type, side } = effect;
        this.#send({
          to: 'node',
          node: order[side],
          event: type === 'request' ? { type, request } : { type, migration },
        });
      }
    }
    if (state.state === 'ended') this.#acquisitions.delete(migration);
  }

  #toNode(node: string, event: NodeQueueEvent): void {
    const queue = this.#queues.get(node) ?? emptyNodeQueue(node, OVERTAKE_LIMIT, Infinity);
    const { state, effects } = nodeTransition(queue, event);
    this.#queues.set(node, state);
    for (const effect of effects) {
      const { type } = effect;
      if (type === 'refuse') throw new Error(`node ${node} refused: ${effect.message}`);
      if (type === 'start-lease' || type === 'stop-lease') continue;
      const acquisition = this.#acquisitions.get(effect.migration);
      if (!acquisition) continue;
      const side = lockOrder(acquisition.request).lower === node ? 'lower' : 'higher';
      this.#send({ to: 'coordinator', acquisition, event: { type, side } });
    }
  }
}

/** Names that are in the order of the numbers. */
function idOf(number: number): string {
  return String(number).padStart(10, '0');
}
