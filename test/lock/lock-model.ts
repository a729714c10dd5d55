import {
  emptyNodeQueue,
  findEntry,
  idleFor,
  transition as queueTransition,
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

/**
 * The pair lock with its connections as one immutable state, for exploration: the product's own two transition
 * functions, and a model of what lies between them. A coordinator reaches its own node at once; to and from the
 * remote node there is an ordered queue of messages that can be cut off, which each side notices in its own time.
 */
export interface Fault {
  cancels: number;
  breaks: number;
  /** Times that a node has stood idle for too long for the migrations of another; any wait can be that long. */
  lapses: number;
}

export interface ModelMigration {
  readonly pair: PairState;
  /** none: never connected. cut: broken, see the two flags. */
  readonly link: 'none' | 'up' | 'cut';
  readonly sourceUnaware: boolean;
  readonly targetUnaware: boolean;
  readonly toTarget: readonly string[];
  readonly toSource: readonly string[];
  readonly outcome: '' | 'done' | 'cancelled' | 'failed';
}

export interface ModelState {
  readonly nodes: Readonly<Record<string, NodeQueue>>;
  readonly migrations: readonly ModelMigration[];
  readonly breaksLeft: number;
  readonly cancelsLeft: number;
  readonly lapsesLeft: number;
}

export interface ModelStep {
  readonly name: string;
  /** What happens by itself, sooner or later; the others are faults and wishes. */
  readonly progress: boolean;
  readonly next: ModelState;
}

export function initialState(
  requests: readonly PairRequest[],
  overtakeLimit: number,
  faults: Fault,
): ModelState {
  const nodes: Record<string, NodeQueue> = {};
  for (const { from, to } of requests) {
    for (const node of [from, to]) nodes[node] = emptyNodeQueue(node, overtakeLimit, 100);
  }
  return {
    nodes,
    migrations: requests.map((request) => ({
      pair: newPair(remoteSide(request)),
      link: 'none',
      sourceUnaware: false,
      targetUnaware: false,
      toTarget: [],
      toSource: [],
      outcome: '',
    })),
    breaksLeft: faults.breaks,
    cancelsLeft: faults.cancels,
    lapsesLeft: faults.lapses,
  };
}

function remoteSide(request: PairRequest): Side {
  return lockOrder(request).lower === request.to ? 'lower' : 'higher';
}

/** A state being changed: what one event sets off, to the end. */
class Turn {
  readonly nodes: Record<string, NodeQueue>;
  readonly migrations: ModelMigration[];
  readonly #requests: readonly PairRequest[];
  readonly #queue: { node: string; event: NodeQueueEvent }[] = [];

  constructor(requests: readonly PairRequest[], state: ModelState) {
    this.#requests = requests;
    this.nodes = { ...state.nodes };
    this.migrations = [...state.migrations];
  }

  change(index: number, changes: Partial<ModelMigration>): void {
    this.migrations[index] = { ...this.migrations[index]!, ...changes };
  }

  pair(index: number, event: PairEvent): void {
    const request = this.#requests[index]!;
    const { state, effects } = pairTransition(this.migrations[index]!.pair, event);
    this.change(index, { pair: state });
    for (const effect of effects) {
      if (effect.type === 'held') continue;
      if (effect.type === 'violation') throw new Error(`${request.migration}: node ${effect.message}`);
      if (effect.side === remoteSide(request)) this.#sendToTarget(index, effect.type);
      else this.#command(request.from, index, effect.type);
    }
  }

  node(node: string, event: NodeQueueEvent): void {
    this.#queue.push({ node, event });
  }

  run(): void {
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const { node, event } = next;
      const { state, effects } = queueTransition(this.nodes[node]!, event);
      this.nodes[node] = state;
      for (const effect of effects) {
        if (effect.type === 'refuse') throw new Error(`${node} refused: ${effect.message}`);
        if (effect.type === 'start-lease' || effect.type === 'stop-lease') continue;
        const index = this.#requests.findIndex((request) => request.migration === effect.migration);
        const request = this.#requests[index]!;
        if (request.from === node) {
          const side = lockOrder(request).lower === node ? 'lower' : 'higher';
          this.pair(index, { type: effect.type, side });
        } else {
          this.#sendToSource(index, effect.type);
        }
      }
    }
  }

  /** A message of the coordinator arrives at the target, as NodeLock takes it. */
  arrive(index: number, message: string): void {
    const { migration, to } = this.#requests[index]!;
    const entry = findEntry(this.nodes[to]!, migration);
    if (message === 'request') {
      if (this.migrations[index]!.link === 'up') this.change(index, { targetUnaware: false });
      if (entry?.attached) this.node(to, { type: 'detach', migration });
    }
    this.#command(to, index, message);
  }

  #command(node: string, index: number, command: string): void {
    const request = this.#requests[index]!;
    const { migration } = request;
    switch (command) {
      case 'request':
        return this.node(node, { type: 'request', request });
      case 'try':
      case 'pass':
      case 'confirm':
      case 'keep':
      case 'release':
        return this.node(node, { type: command, migration });
      default:
        throw new Error(`no such command: ${command}`);
    }
  }

  #sendToTarget(index: number, message: string): void {
    const migration = this.migrations[index]!;
    if (migration.link === 'up') this.change(index, { toTarget: [...migration.toTarget, message] });
  }

  #sendToSource(index: number, message: string): void {
    const migration = this.migrations[index]!;
    if (migration.link === 'up' && !migration.targetUnaware) {
      this.change(index, { toSource: [...migration.toSource, message] });
    }
  }
}

/** Every event that is possible in `state`, with the state that it leads to. */
export function steps(requests: readonly PairRequest[], state: ModelState): ModelStep[] {
  const found: ModelStep[] = [];
  const add = (
    name: string,
    progress: boolean,
    act: (turn: Turn) => void,
    spent: Partial<ModelState> = {},
  ): void => {
    const turn = new Turn(requests, state);
    act(turn);
    turn.run();
    found.push({
      name,
      progress,
      next: { ...state, ...spent, nodes: turn.nodes, migrations: turn.migrations },
    });
  };

  for (const [name, queue] of Object.entries(state.nodes)) {
    const idler = idleFor(queue);
    if (idler !== null && !queue.lapsed.includes(idler) && state.lapsesLeft > 0) {
      const spent = { lapsesLeft: state.lapsesLeft - 1 };
      add(
        `${idler} lapses at ${name}`,
        false,
        (turn) => turn.node(name, { type: 'lapse', node: idler }),
        spent,
      );
    }
    for (const node of queue.lapsed) {
      add(`${name} forgives ${node}`, false, (turn) => turn.node(name, { type: 'forgive', node }));
    }
  }
  state.migrations.forEach((migration, index) => {
    const { migration: id, to } = requests[index]!;
    const { pair, link, outcome } = migration;
    const waiting = outcome === '' && pair.state !== 'held';
    const remote = state.nodes[to]!;

    if (waiting && pair.state === 'disconnected' && !migration.sourceUnaware) {
      add(`${id} connects`, true, (turn) => {
        turn.change(index, {
          link: 'up',
          // The target may take the old connection for alive, and talk to it, until the new one requests.
          toTarget: [],
          toSource: [],
        });
        turn.pair(index, { type: 'connected' });
      });
    }
    const [command] = migration.toTarget;
    if (command !== undefined && (link === 'up' || migration.targetUnaware)) {
      add(`${id} ${command} arrives`, true, (turn) => {
        turn.change(index, { toTarget: migration.toTarget.slice(1) });
        turn.arrive(index, command);
      });
    }
    const [answer] = migration.toSource;
    if (answer !== undefined && (link === 'up' || migration.sourceUnaware)) {
      add(`${id} hears ${answer}`, true, (turn) => {
        turn.change(index, { toSource: migration.toSource.slice(1) });
        const type = answer as 'granted' | 'busy' | 'offer' | 'kept';
        turn.pair(index, { type, side: remoteSide(requests[index]!) });
      });
    }
    if (pair.state === 'held' && link === 'up') {
      add(`${id} completes`, true, (turn) => {
        turn.change(index, { outcome: 'done' });
        turn.pair(index, { type: 'end' });
      });
    }
    if (migration.sourceUnaware) {
      add(`source of ${id} sees the cut`, true, (turn) => {
        turn.change(index, { sourceUnaware: false, toSource: [] });
        if (pair.state === 'held') {
          turn.change(index, { outcome: 'failed' });
          turn.pair(index, { type: 'end' });
        } else {
          turn.pair(index, { type: 'disconnected' });
        }
      });
    }
    if (migration.targetUnaware) {
      add(`target of ${id} sees the cut`, true, (turn) => {
        turn.change(index, { targetUnaware: false, toTarget: link === 'cut' ? [] : migration.toTarget });
        turn.node(to, { type: 'detach', migration: id });
      });
    }
    if (findEntry(remote, id)?.attached === false) {
      add(`lease of ${id} runs out`, true, (turn) => turn.node(to, { type: 'expire', migration: id }));
    }
    if (link === 'up' && state.breaksLeft > 0) {
      add(
        `link of ${id} is cut`,
        false,
        (turn) => turn.change(index, { link: 'cut', sourceUnaware: true, targetUnaware: true }),
        { breaksLeft: state.breaksLeft - 1 },
      );
    }
    if (waiting && pair.state === 'disconnected' && link === 'cut' && !migration.sourceUnaware) {
      add(`${id} gives up to reconnect`, false, (turn) => {
        turn.change(index, { outcome: 'failed' });
        turn.pair(index, { type: 'end' });
      });
    }
    if (waiting && state.cancelsLeft > 0) {
      add(
        `${id} is cancelled`,
        false,
        (turn) => {
          turn.change(index, { outcome: 'cancelled' });
          turn.pair(index, { type: 'end' });
        },
        { cancelsLeft: state.cancelsLeft - 1 },
      );
    }
  });
  return found;
}
