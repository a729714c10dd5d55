import t from 'tap';
import { findEntry, isKeptFromIt, occupant } from '../../agent/lock/node-queue.js';
import type { PairRequest } from '../../agent/lock/pair.js';
import { initialState, steps, type Fault, type ModelState } from './lock-model.js';

/**
 * Every interleaving of deliveries, cuts, cancels and expiries, of small clusters, checked for what the lock
 * promises. The states are visited breadth first; then the graph of what happens by itself is checked as a whole.
 */

interface Exploration {
  states: number;
  /** Migrations that were kept a node somewhere, so that a model that means to explore that is known to. */
  kept: number;
  /** States in which a node has lapsed at another. */
  lapsed: number;
  outcomes: Set<string>;
}

function settledMessage(state: ModelState, requests: readonly PairRequest[]): string | undefined {
  for (const queue of Object.values(state.nodes)) {
    if (queue.entries.length > 0) return `node ${queue.node} is left with ${queue.entries[0]!.migration}`;
  }
  const open = state.migrations.findIndex(({ outcome }) => outcome === '');
  return open === -1 ? undefined : `${requests[open]!.migration} never ends`;
}

/** What is wrong with the state, if anything is. */
function violation(state: ModelState, requests: readonly PairRequest[], lapses: boolean): string | undefined {
  for (const queue of Object.values(state.nodes)) {
    const having = queue.entries.filter(({ phase }) => phase === 'offered' || phase === 'running');
    if (having.length > 1) return `two have node ${queue.node}`;
    for (const entry of queue.entries) {
      // The limit is what a lapse takes away.
      if (entry.overtaken > queue.overtakeLimit && !lapses)
        return `${entry.migration} is overtaken too often`;
      const index = requests.findIndex(({ migration }) => migration === entry.migration);
      const { pair, link, toTarget } = state.migrations[index]!;
      const { from } = requests[index]!;
      const leaseEnds = queue.node !== from && (link === 'cut' || toTarget.includes('release'));
      if (pair.state === 'ended' && !leaseEnds) return `${entry.migration} has ended and is at ${queue.node}`;
    }
  }
  for (const [index, { pair, link }] of state.migrations.entries()) {
    if (pair.state !== 'held') continue;
    const { migration, from, to } = requests[index]!;
    const nodes = link === 'up' ? [from, to] : [from];
    for (const node of nodes) {
      if (occupant(state.nodes[node]!)?.migration !== migration) return `${migration} runs without ${node}`;
    }
  }
  return idleViolation(state, requests);
}

/** With nothing under way, no migration waits that could run. */
function idleViolation(state: ModelState, requests: readonly PairRequest[]): string | undefined {
  const resting = state.migrations.every(
    ({ link, pair, toTarget, toSource, sourceUnaware, targetUnaware }) =>
      toTarget.length + toSource.length === 0 &&
      !sourceUnaware &&
      !targetUnaware &&
      (link === 'up' || pair.state === 'ended'),
  );
  if (!resting) return undefined;
  for (const [index, { pair }] of state.migrations.entries()) {
    const { migration, from, to } = requests[index]!;
    if (pair.state === 'held' || pair.state === 'ended') continue;
    if (pair.state !== 'watching') return `${migration} is ${pair.state} and nothing is under way`;
    const blocked = [from, to].some((node) => {
      const queue = state.nodes[node]!;
      const entry = findEntry(queue, migration);
      return occupant(queue) !== undefined || (entry !== undefined && isKeptFromIt(queue, entry));
    });
    if (!blocked) return `${migration} waits while both of its nodes are free`;
  }
  return undefined;
}

function attempt<Value>(run: () => Value, failed: (message: string) => never): Value {
  try {
    return run();
  } catch (error) {
    return failed((error as Error).message);
  }
}

function explore(requests: readonly PairRequest[], overtakeLimit: number, faults: Fault): Exploration {
  const first = initialState(requests, overtakeLimit, faults);
  const ids = new Map<string, number>([[JSON.stringify(first), 0]]);
  const states: (ModelState | undefined)[] = [first];
  /** [from, to] of everything that happens by itself. */
  const edges: number[] = [];
  const pathTo: { from: number; name: string }[] = [{ from: -1, name: 'start' }];
  const result: Exploration = { states: 0, kept: 0, lapsed: 0, outcomes: new Set() };
  const fail = (index: number, message: string): never => {
    const path: string[] = [];
    for (let at = index; at >= 0; at = pathTo[at]!.from) path.unshift(pathTo[at]!.name);
    throw new Error(`${message}\n  ${path.join('\n  ')}`);
  };

  for (let index = 0; index < states.length; index += 1) {
    const state = states[index]!;
    const wrong = violation(state, requests, faults.lapses > 0);
    if (wrong !== undefined) fail(index, wrong);
    result.kept += state.migrations.some(({ pair }) => 'kept' in pair && pair.kept) ? 1 : 0;
    result.lapsed += Object.values(state.nodes).some(({ lapsed }) => lapsed.length > 0) ? 1 : 0;
    const found = attempt(
      () => steps(requests, state),
      (message) => fail(index, message),
    );
    if (!found.some(({ progress }) => progress)) {
      const unsettled = settledMessage(state, requests);
      if (unsettled !== undefined) fail(index, unsettled);
      result.outcomes.add(state.migrations.map(({ outcome }) => outcome).join(' '));
    }
    for (const { name, progress, next } of found) {
      const key = JSON.stringify(next);
      let id = ids.get(key);
      if (id === undefined) {
        id = states.length;
        ids.set(key, id);
        states.push(next);
        pathTo.push({ from: index, name });
      }
      if (progress) edges.push(index, id);
    }
    states[index] = undefined; // only its key is needed from here on
  }
  result.states = states.length;
  const stuck = inCycle(states.length, edges);
  if (stuck !== undefined) fail(stuck, 'this state can be reached again and again with nothing completed');
  return result;
}

/**
 * A node of the graph that a cycle leads to, if there is one. Without one, every run ends, in whatever order
 * things happen, fair or not; and each end was checked: no deadlock and no livelock.
 */
function inCycle(count: number, edges: readonly number[]): number | undefined {
  const incoming = new Int32Array(count);
  const firstEdge = new Int32Array(count + 1);
  for (let edge = 0; edge < edges.length; edge += 2) {
    incoming[edges[edge + 1]!]! += 1;
    firstEdge[edges[edge]! + 1]! += 1;
  }
  for (let node = 0; node < count; node += 1) firstEdge[node + 1]! += firstEdge[node]!;
  // Edges were collected in ascending order of their origin.
  const ready: number[] = [];
  for (let node = 0; node < count; node += 1) if (incoming[node] === 0) ready.push(node);
  let removed = 0;
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    removed += 1;
    for (let edge = firstEdge[node]!; edge < firstEdge[node + 1]!; edge += 1) {
      const next = edges[2 * edge + 1]!;
      incoming[next]! -= 1;
      if (incoming[next] === 0) ready.push(next);
    }
  }
  return removed === count ? undefined : incoming.findIndex((left) => left > 0);
}

/** 'A>B B>A': migrations in order of arrival. */
function requestsOf(text: string): PairRequest[] {
  return text.split(' ').map((pair, index) => {
    const [from, to] = pair.split('>') as [string, string];
    return { migration: `m${index + 1}`, vm: `vm${index + 1}`, from, to, requestedAt: index };
  });
}

const NONE: Fault = { cancels: 0, breaks: 0, lapses: 0 };
const LAPSES: Fault = { ...NONE, lapses: 2 };
const MODELS: [pairs: string, overtakeLimit: number, faults: Fault][] = [
  ['A>B', 1, { ...NONE, cancels: 1, breaks: 3 }],
  ['A>B B>A', 1, { ...NONE, cancels: 2, breaks: 2 }],
  ['A>B A>B', 1, { ...NONE, cancels: 1, breaks: 2 }],
  ['B>A C>B', 1, { ...NONE, cancels: 1, breaks: 2 }],
  ['A>B B>C C>A', 1, { ...NONE, cancels: 1, breaks: 0 }],
  ['A>B B>C C>A', 2, { ...NONE, cancels: 0, breaks: 1 }],
  ['A>B B>C A>B', 1, { ...NONE, cancels: 0, breaks: 1 }],
  ['A>B C>B B>A', 1, { ...NONE, cancels: 0, breaks: 1 }],
  ['A>B B>A A>B', 1, NONE],
  ['B>C A>B C>D A>B', 1, NONE],
  ['A>B B>C C>A A>B', 1, NONE],
  ['B>C A>B A>C B>A', 2, NONE],
  ['A>B C>B', 1, { cancels: 1, breaks: 1, lapses: 2 }],
  ['A>B B>A C>B', 1, LAPSES],
  ['A>B C>B C>A', 1, LAPSES],
  ['A>B B>C C>A', 1, { ...LAPSES, cancels: 1 }],
];

for (const [pairs, overtakeLimit, faults] of MODELS) {
  const what = `${pairs}, ${faults.cancels} cancels, ${faults.breaks} cuts, ${faults.lapses} lapses, limit ${overtakeLimit}`;
  void t.test(`all interleavings of ${what}`, (t) => {
    const requests = requestsOf(pairs);
    const { states, kept, lapsed, outcomes } = explore(requests, overtakeLimit, faults);
    t.comment(`${states} states, ${kept} of them with a kept node, ${lapsed} with a lapse`);
    t.equal(lapsed > 0, faults.lapses > 0);
    t.ok(outcomes.has(requests.map(() => 'done').join(' ')), 'all can complete');
    if (faults === NONE || faults === LAPSES)
      t.equal(outcomes.size, 1, 'and without cancels and cuts all do, always');
    t.end();
  });
}
