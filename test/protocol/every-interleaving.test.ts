import t from 'tap';
import { INITIAL, type Model, successors } from '../support/migration-model.js';

/** The whole state space of one migration with every fault at every moment, and what must hold in all of it. */

interface Node {
  readonly model: Model;
  readonly from: number;
  readonly what: string;
}

function explore(): { nodes: Node[]; edges: Uint32Array[] } {
  const nodes: Node[] = [{ model: INITIAL, from: -1, what: 'start' }];
  const indexes = new Map([[JSON.stringify(INITIAL), 0]]);
  const edges: Uint32Array[] = [];
  for (let index = 0; index < nodes.length; index += 1) {
    const next = successors(nodes[index]!.model).map(({ what, model }) => {
      const key = JSON.stringify(model);
      const known = indexes.get(key);
      if (known !== undefined) return known;
      indexes.set(key, nodes.length);
      nodes.push({ model, from: index, what });
      return nodes.length - 1;
    });
    edges.push(Uint32Array.from(next));
  }
  return { nodes, edges };
}

const { nodes, edges } = explore();

/** How a state is reached, for the report of a violation. */
function path(index: number): string {
  const steps: string[] = [];
  for (let at = index; at >= 0; at = nodes[at]!.from) steps.unshift(nodes[at]!.what);
  return `${steps.join('; ')}: ${JSON.stringify(nodes[index]!.model)}`;
}

function never(violated: (model: Model) => boolean): string | null {
  const index = nodes.findIndex(({ model }) => violated(model));
  return index < 0 ? null : path(index);
}

const sourceRuns = (m: Model) => m.sGuest === 'runs';
const targetRuns = (m: Model) => m.tGuest === 'runs';
const targetIsIdle = (m: Model) => ['none', 'running', 'aborted'].includes(m.t) && m.tSteps.length === 0;

/** Nothing is under way any more, and exactly one side has the guest: running, or paused where the result says so. */
const isGood = (m: Model) =>
  (m.s === 'failed' && targetIsIdle(m) && (sourceRuns(m) || m.sStuck) && m.tGuest === 'none') ||
  (m.s === 'completed' && targetIsIdle(m) && (targetRuns(m) || m.tStuck) && !sourceRuns(m));

void t.test(`${nodes.length} states`, (t) => {
  t.ok(nodes.length > 10_000, 'the model is no toy');
  for (const s of ['completed', 'failed', 'unknown', 'down'] as const) {
    t.ok(nodes.some(({ model }) => model.s === s), `${s} is reached`); // prettier-ignore
  }

  t.equal(never((m) => sourceRuns(m) && targetRuns(m)), null, 'never do both run'); // prettier-ignore
  t.equal(
    never((m) => m.everCommitted && sourceRuns(m)),
    null,
    'once the target has committed, the source never runs it',
  );
  t.equal(
    never((m) => targetRuns(m) && !m.everCommitted),
    null,
    'the target runs nothing that it has not committed',
  );
  t.equal(
    never((m) => targetRuns(m) && !m.everCommitSent),
    null,
    'nor before the source has sent the commit',
  );
  const loads = ['loading', 'ready', 'recording-commit', 'resuming', 'running'];
  t.equal(
    never((m) => loads.includes(m.t) && m.onPages.includes('round-end')),
    null,
    'it loads nothing before all that was sent is there',
  );
  t.equal(
    never((m) => m.s === 'completed' && m.tGuest === 'none' && m.t !== 'down'),
    null,
    'the source gives its copy up only for one on the target',
  );
  t.equal(
    never((m) => m.sGuest === 'destroyed' && !m.everCommitted),
    null,
    'and only after the commit',
  );
  t.equal(
    never((m) => m.s === 'failed' && !sourceRuns(m) && !m.sStuck),
    null,
    'a migration that failed leaves the guest running on the source, or says that it is paused',
  );
  t.equal(
    never((m) => !m.everCommitSent && m.sJournal && m.s === 'committing'),
    null,
    'the commit is on record before it is sent, and not without being sent',
  );
  t.equal(
    never((m) => (m.s === 'asking' || m.s === 'unknown') && sourceRuns(m) && m.everCommitted),
    null,
    'while the outcome is not known nothing is guessed',
  );
  t.end();
});

void t.test('from every state there is a way to an end with one owner', (t) => {
  const incoming: number[][] = nodes.map(() => []);
  edges.forEach((next, from) => next.forEach((to) => incoming[to]!.push(from)));
  const reaches = new Uint8Array(nodes.length);
  const queue = nodes.flatMap(({ model }, index) => (isGood(model) ? [index] : []));
  queue.forEach((index) => (reaches[index] = 1));
  for (let index = queue.pop(); index !== undefined; index = queue.pop()) {
    for (const from of incoming[index]!) {
      if (reaches[from]) continue;
      reaches[from] = 1;
      queue.push(from);
    }
  }
  const stuck = reaches.indexOf(0);
  t.equal(stuck < 0 ? null : path(stuck), null);
  t.end();
});
