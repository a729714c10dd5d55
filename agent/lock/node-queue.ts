import type { ErrorCode } from '../../shared/errors.js';
import { compareArrival, type PairRequest } from './pair.js';

/**
 * One node's lock as a pure state machine: the queue of migrations that need this node, in order of arrival, of
 * which at most one has the node. No clock, no connection: leases end by an `expire` event, answers are effects.
 *
 *   parked    in the queue, waiting for its other node
 *   watching  wants the next offer of this node
 *   trying    wants this node now, and waits until a later one that has it tentatively has decided
 *   offered   has this node tentatively; decides between confirm and pass
 *   running   has this node
 */
export type QueuePhase = 'parked' | 'watching' | 'trying' | 'offered' | 'running';

export interface QueuedMigration extends PairRequest {
  readonly phase: QueuePhase;
  /** False while its coordinator's connection is gone and the lease runs out. Then it is parked or running. */
  readonly attached: boolean;
  /** Migrations that came later and took this node first. */
  readonly overtaken: number;
  /** The node goes to none that came later than this one. */
  readonly kept: boolean;
}

export interface NodeQueue {
  readonly node: string;
  /** Times that a waiter may be overtaken at this node before the node is kept for it. */
  readonly overtakeLimit: number;
  /** Entries that the queue may have; more are refused. */
  readonly maxEntries: number;
  /** Whether one migration at a time has the node. False for one benchmark alone, which shows why it is true. */
  readonly exclusive: boolean;
  /** Other nodes that let this one stand idle for too long: it is kept for none of theirs, and offered to others' first. */
  readonly lapsed: readonly string[];
  /** In order of arrival. */
  readonly entries: readonly QueuedMigration[];
}

export type NodeQueueEvent =
  | { readonly type: 'request'; readonly request: PairRequest }
  | {
      readonly type:
        | 'try'
        | 'pass'
        | 'confirm'
        | 'keep'
        | 'release'
        /** The coordinator's connection is gone: what it has tentatively is freed, its lease starts to run out. */
        | 'detach'
        /** A connection of the same migration is back. */
        | 'attach'
        /** The lease has run out. */
        | 'expire';
      readonly migration: string;
    }
  /** For the migrations of that node this one stood idle for too long. */
  | { readonly type: 'lapse'; readonly node: string }
  /** That was long enough ago. */
  | { readonly type: 'forgive'; readonly node: string };

export type NodeQueueEffect =
  | {
      readonly type: 'granted' | 'busy' | 'offer' | 'kept' | 'start-lease' | 'stop-lease';
      readonly migration: string;
    }
  /** The event broke the rules and changed nothing. */
  | {
      readonly type: 'refuse';
      readonly migration: string;
      readonly code: ErrorCode;
      readonly message: string;
    };

export interface NodeQueueStep {
  readonly state: NodeQueue;
  readonly effects: readonly NodeQueueEffect[];
}

export function emptyNodeQueue(
  node: string,
  overtakeLimit: number,
  maxEntries: number,
  exclusive = true,
): NodeQueue {
  return { node, overtakeLimit, maxEntries, exclusive, lapsed: [], entries: [] };
}

export function findEntry(state: NodeQueue, migration: string): QueuedMigration | undefined {
  return state.entries.find((entry) => entry.migration === migration);
}

/** What has the node, tentatively or running, so that nobody else gets it. */
export function occupant(state: NodeQueue): QueuedMigration | undefined {
  if (!state.exclusive) return undefined;
  return state.entries.find((entry) => entry.phase === 'offered' || entry.phase === 'running');
}

/** Whether the node is kept for a waiter that came before `entry`. */
export function isKeptFromIt(state: NodeQueue, entry: QueuedMigration): boolean {
  return state.entries.some((other) => other.kept && compareArrival(other, entry) < 0);
}

/**
 * The other node for whose migrations this one stands idle, offered to one or kept for one, while somebody else's waits
 * for it; null if there is none.
 */
export function idleFor({ node, entries, exclusive }: NodeQueue): string | null {
  if (!exclusive || entries.some(({ phase }) => phase === 'running')) return null;
  const reason = entries.find(({ phase }) => phase === 'offered') ?? entries.find(({ kept }) => kept);
  if (!reason || reason.from === node) return null;
  const othersWait = entries.some((entry) => entry.from !== reason.from && wantsNode(entry));
  return othersWait ? reason.from : null;
}

function wantsNode({ phase }: QueuedMigration): boolean {
  return phase === 'watching' || phase === 'trying';
}

/**
 * Whether `entry`, which may have its other node tentatively, waits for the decision of `current`. Only an earlier one
 * waits for a later one: so no cycle of waits can close, and of two that each have what the other needs, the
 * earlier one gets both.
 */
function mayWaitFor(current: QueuedMigration | undefined, entry: QueuedMigration): boolean {
  return current?.phase === 'offered' && compareArrival(entry, current) < 0;
}

function refuse(state: NodeQueue, migration: string, code: ErrorCode, message: string): NodeQueueStep {
  return { state, effects: [{ type: 'refuse', migration, code, message }] };
}

function change(state: NodeQueue, migration: string, changes: Partial<QueuedMigration>): NodeQueue {
  return {
    ...state,
    entries: state.entries.map((entry) => (entry.migration === migration ? { ...entry, ...changes } : entry)),
  };
}

/**
 * Brings the queue to rest after a change: a free node is given to the first that wants it and may have it; a try
 * that cannot succeed any more is answered. A `busy` one watches from that moment, so it misses no offer.
 */
function settle(before: NodeQueue, effects: NodeQueueEffect[]): NodeQueueStep {
  let state = before;
  if (!occupant(state)) {
    const firstKept = state.entries.findIndex((entry) => entry.kept);
    const wanting = state.entries.slice(0, firstKept === -1 ? undefined : firstKept + 1).filter(wantsNode);
    const next = wanting.find(({ from }) => !before.lapsed.includes(from)) ?? wanting[0];
    if (next) {
      state = change(state, next.migration, { phase: 'offered' });
      effects.push({ type: next.phase === 'trying' ? 'granted' : 'offer', migration: next.migration });
    }
  }
  const current = occupant(state);
  for (const entry of state.entries) {
    if (entry.phase !== 'trying') continue;
    if (mayWaitFor(current, entry) && !isKeptFromIt(state, entry)) continue;
    state = change(state, entry.migration, { phase: 'watching' });
    effects.push({ type: 'busy', migration: entry.migration });
  }
  return { state, effects };
}

function request(state: NodeQueue, wanted: PairRequest): NodeQueueStep {
  const { migration } = wanted;
  const known = findEntry(state, migration);
  if (known) {
    const same =
      known.from === wanted.from &&
      known.to === wanted.to &&
      known.vm === wanted.vm &&
      known.requestedAt === wanted.requestedAt &&
      (known.priority ?? 0) === (wanted.priority ?? 0);
    if (known.attached || known.phase === 'running' || !same) {
      return refuse(
        state,
        migration,
        'duplicate-migration',
        `migration ${migration} is in the queue of node ${state.node} already (${known.vm} from ${known.from} to ${known.to})`,
      );
    }
    // Back within its lease: it has kept its place.
    return {
      state: change(state, migration, { attached: true }),
      effects: [{ type: 'stop-lease', migration }],
    };
  }
  if (state.entries.length >= state.maxEntries) {
    return refuse(
      state,
      migration,
      'limit-exceeded',
      `the queue of node ${state.node} has ${state.entries.length} migrations, the most it takes: try again when some have ended`,
    );
  }
  const entry: QueuedMigration = { ...wanted, phase: 'parked', attached: true, overtaken: 0, kept: false };
  return { state: { ...state, entries: [...state.entries, entry].sort(compareArrival) }, effects: [] };
}

function tryNode(state: NodeQueue, entry: QueuedMigration): NodeQueueStep {
  const { migration } = entry;
  if (entry.phase !== 'parked') return wrongPhase(state, entry, 'try');
  const current = occupant(state);
  if (mayWaitFor(current, entry) && !isKeptFromIt(state, entry)) {
    return { state: change(state, migration, { phase: 'trying' }), effects: [] };
  }
  if (current || isKeptFromIt(state, entry)) {
    return {
      state: change(state, migration, { phase: 'watching' }),
      effects: [{ type: 'busy', migration }],
    };
  }
  return { state: change(state, migration, { phase: 'offered' }), effects: [{ type: 'granted', migration }] };
}

function confirm(before: NodeQueue, entry: QueuedMigration): NodeQueueStep {
  if (entry.phase !== 'offered') return wrongPhase(before, entry, 'confirm');
  const effects: NodeQueueEffect[] = [];
  const entries = before.entries.map((other): QueuedMigration => {
    if (other.migration === entry.migration) return { ...other, phase: 'running', kept: false };
    if (compareArrival(other, entry) > 0) return other;
    const overtaken = other.overtaken + 1;
    const keeps = overtaken >= before.overtakeLimit && !before.lapsed.includes(other.from);
    if (other.kept || !keeps) return { ...other, overtaken };
    effects.push({ type: 'kept', migration: other.migration });
    return { ...other, overtaken, kept: true };
  });
  // It has made use of the node.
  return settle(forgiven({ ...before, entries }, entry.from), effects);
}

function lapse(state: NodeQueue, node: string): NodeQueueStep {
  if (state.lapsed.includes(node)) return { state, effects: [] };
  const entries = state.entries.map((entry) => (entry.from === node ? { ...entry, kept: false } : entry));
  return settle({ ...state, entries, lapsed: [...state.lapsed, node] }, []);
}

function forgiven(state: NodeQueue, node: string): NodeQueue {
  return { ...state, lapsed: state.lapsed.filter((other) => other !== node) };
}

function wrongPhase(state: NodeQueue, entry: QueuedMigration, what: string): NodeQueueStep {
  return refuse(
    state,
    entry.migration,
    'unexpected-message',
    `migration ${entry.migration} sent lock-${what} while it is ${entry.phase} in the queue of node ${state.node}`,
  );
}

function remove(state: NodeQueue, migration: string): NodeQueueStep {
  return settle({ ...state, entries: state.entries.filter((entry) => entry.migration !== migration) }, [
    { type: 'stop-lease', migration },
  ]);
}

/** The next state and what is to be done. Never throws; an event that breaks the rules yields `refuse`. */
export function transition(state: NodeQueue, event: NodeQueueEvent): NodeQueueStep {
  if (event.type === 'request') return request(state, event.request);
  if (event.type === 'lapse') return lapse(state, event.node);
  if (event.type === 'forgive') return { state: forgiven(state, event.node), effects: [] };
  const { migration } = event;
  const entry = findEntry(state, migration);
  switch (event.type) {
    case 'release':
      return entry ? remove(state, migration) : { state, effects: [] };
    case 'expire':
      return entry && !entry.attached ? remove(state, migration) : { state, effects: [] };
    case 'detach':
      if (!entry?.attached) return { state, effects: [] };
      return settle(
        change(state, migration, {
          attached: false,
          phase: entry.phase === 'running' ? 'running' : 'parked',
        }),
        [{ type: 'start-lease', migration }],
      );
    case 'attach':
      if (!entry || entry.attached) return { state, effects: [] };
      return {
        state: change(state, migration, { attached: true }),
        effects: [{ type: 'stop-lease', migration }],
      };
    case 'try':
    case 'pass':
    case 'confirm':
    case 'keep':
      break;
  }
  if (!entry?.attached) {
    return refuse(
      state,
      migration,
      'unexpected-message',
      `migration ${migration} sent lock-${event.type} and is not in the queue of node ${state.node}: request first`,
    );
  }
  switch (event.type) {
    case 'try':
      return tryNode(state, entry);
    case 'confirm':
      return confirm(state, entry);
    case 'pass':
      if (entry.phase === 'running') return wrongPhase(state, entry, 'pass');
      return settle(change(state, migration, { phase: 'parked' }), []);
    case 'keep':
      if (entry.phase === 'running') return wrongPhase(state, entry, 'keep');
      if (state.lapsed.includes(entry.from)) return { state, effects: [] };
      return settle(change(state, migration, { kept: true }), []);
  }
}
