import t from 'tap';
import {
  emptyNodeQueue,
  findEntry,
  idleFor,
  transition,
  type NodeQueue,
  type NodeQueueEvent,
} from '../../agent/lock/node-queue.js';
import { lockStatus, queueEntries } from '../../agent/lock/node-queue-view.js';
import type { PairRequest } from '../../agent/lock/pair.js';

function request(migration: string, requestedAt: number, from = 'a', to = 'b'): NodeQueueEvent {
  const wanted: PairRequest = { migration, vm: `vm-${migration}`, from, to, requestedAt };
  return { type: 'request', request: wanted };
}

/** Applies events to node b's empty queue; the effects of each as 'type migration'. */
function play(...events: NodeQueueEvent[]): { state: NodeQueue; effects: string[][] } {
  return playOn(emptyNodeQueue('b', 2, 4), ...events);
}

function playOn(start: NodeQueue, ...events: NodeQueueEvent[]): { state: NodeQueue; effects: string[][] } {
  let state = start;
  const effects = events.map((event) => {
    const step = transition(state, event);
    state = step.state;
    return step.effects.map((effect) =>
      effect.type === 'refuse'
        ? `refuse ${effect.migration} ${effect.code}`
        : `${effect.type} ${effect.migration}`,
    );
  });
  return { state, effects };
}

const on = (
  type: Extract<NodeQueueEvent, { migration: string }>['type'],
  migration: string,
): NodeQueueEvent => ({
  type,
  migration,
});

void t.test('a free node is granted, a running one is busy and offered later', (t) => {
  const { state, effects } = play(
    request('m1', 1),
    on('try', 'm1'),
    on('confirm', 'm1'),
    request('m2', 2, 'c'),
    on('try', 'm2'),
    on('release', 'm1'),
    on('confirm', 'm2'),
  );
  t.same(effects, [[], ['granted m1'], [], [], ['busy m2'], ['stop-lease m1', 'offer m2'], []]);
  t.equal(findEntry(state, 'm2')?.phase, 'running');
  t.end();
});

void t.test('the first in order of arrival is offered the node, ties are broken by id', (t) => {
  const { effects } = play(
    request('m0', 0),
    on('try', 'm0'),
    request('m3', 7),
    request('m2', 7),
    on('confirm', 'm0'),
    on('try', 'm3'),
    on('try', 'm2'),
    on('release', 'm0'),
    on('pass', 'm2'),
  );
  t.same(effects.slice(-2), [['stop-lease m0', 'offer m2'], ['offer m3']]);
  t.end();
});

void t.test('an earlier one waits for the decision of a later one, not the reverse', (t) => {
  const { state, effects } = play(
    request('m2', 2),
    on('try', 'm2'),
    request('m1', 1, 'c'),
    request('m3', 3, 'd'),
    on('try', 'm1'),
    on('try', 'm3'),
  );
  t.same(effects.slice(-2), [[], ['busy m3']]);
  t.same(playOn(state, on('pass', 'm2')).effects, [['granted m1']]);
  t.same(playOn(state, on('confirm', 'm2')).effects, [['busy m1']]);
  t.same(playOn(state, on('detach', 'm2')).effects, [['start-lease m2', 'granted m1']]);
  t.end();
});

void t.test('one overtaken to the limit is kept the node; earlier ones still may have it', (t) => {
  const overtake = (migration: string, at: number): NodeQueueEvent[] => [
    request(migration, at, 'c'),
    on('try', migration),
    on('confirm', migration),
    on('release', migration),
  ];
  const { state, effects } = play(request('m5', 5), ...overtake('m6', 6), ...overtake('m7', 7));
  t.same(effects[7], ['kept m5']);
  t.equal(findEntry(state, 'm5')?.overtaken, 2);
  const after = playOn(state, request('m8', 8, 'c'), on('try', 'm8'), request('m1', 1, 'c'), on('try', 'm1'));
  t.same(after.effects, [[], ['busy m8'], [], ['granted m1']]);
  t.equal(lockStatus(after.state, 'm8')?.kept, false);
  t.same(
    playOn(after.state, on('pass', 'm1'), on('try', 'm5'), on('confirm', 'm5'), on('release', 'm5')).effects,
    [[], ['granted m5'], [], ['stop-lease m5', 'offer m8']],
  );
  t.end();
});

void t.test('keep gives a waiter the same, on the word of its coordinator', (t) => {
  const { effects } = play(
    request('m1', 1),
    request('m2', 2, 'c'),
    on('keep', 'm1'),
    on('try', 'm2'),
    on('release', 'm1'),
  );
  t.same(effects.slice(2), [[], ['busy m2'], ['stop-lease m1', 'offer m2']]);
  t.end();
});

void t.test('a lease: what is tentative is freed at once, what runs when it has run out', (t) => {
  const { state, effects } = play(
    request('m1', 1),
    on('try', 'm1'),
    on('confirm', 'm1'),
    request('m2', 2, 'c'),
    on('try', 'm2'),
    on('detach', 'm1'),
    on('detach', 'm1'),
  );
  t.same(effects.slice(-2), [['start-lease m1'], []]);
  t.same(playOn(state, on('expire', 'm1')).effects, [['stop-lease m1', 'offer m2']]);
  t.same(playOn(state, on('attach', 'm1'), on('expire', 'm1')).effects, [['stop-lease m1'], []]);
  t.same(playOn(state, on('detach', 'm2'), on('release', 'm1'), request('m2', 2, 'c')).effects, [
    ['start-lease m2'],
    ['stop-lease m1'],
    ['stop-lease m2'],
  ]);
  t.end();
});

void t.test('a node that is kept and never used is kept no more, and goes to others first', (t) => {
  const lapse: NodeQueueEvent = { type: 'lapse', node: 'a' };
  const forgive: NodeQueueEvent = { type: 'forgive', node: 'a' };
  const kept = play(request('m1', 1), on('keep', 'm1'), request('m2', 2, 'c'), on('try', 'm2'));
  t.equal(idleFor(kept.state), 'a');
  const lapsed = playOn(kept.state, lapse, lapse, on('keep', 'm1'));
  t.same(lapsed.effects, [['offer m2'], [], []]);
  const others = [on('try', 'm1'), request('m3', 3, 'c'), on('try', 'm3')];
  const tried = playOn(lapsed.state, ...others, on('pass', 'm2'));
  t.same(tried.effects, [[], [], ['busy m3'], ['offer m3']], 'a later one of another node comes first');
  t.same(playOn(tried.state, on('pass', 'm3')).effects, [['granted m1']], 'until no other wants it');
  t.same(playOn(tried.state, forgive, on('pass', 'm3'), on('keep', 'm1')).effects, [[], ['granted m1'], []]);
  const ran = playOn(tried.state, on('pass', 'm3'), on('confirm', 'm1'));
  t.same(ran.state.lapsed, [], 'one that ran makes good for it');
  t.end();
});

void t.test('for whom a node stands idle', (t) => {
  const own = play(request('m1', 1, 'b', 'a'), on('try', 'm1'), request('m2', 2, 'c'), on('try', 'm2'));
  t.equal(idleFor(own.state), null, 'not for its own agent, which is trusted');
  const alone = play(request('m1', 1), on('try', 'm1'), request('m2', 2), on('try', 'm2'));
  t.equal(idleFor(alone.state), null, 'nor where no other node waits');
  const other = playOn(alone.state, request('m3', 3, 'c'), on('try', 'm3'));
  t.equal(idleFor(other.state), 'a');
  t.equal(idleFor(playOn(other.state, on('confirm', 'm1')).state), null, 'one that runs does not idle');
  t.end();
});

void t.test('releasing is harmless in every state, three times', (t) => {
  const states: NodeQueueEvent[][] = [
    [request('m1', 1)],
    [request('m1', 1), on('try', 'm1')],
    [request('m1', 1), on('try', 'm1'), on('confirm', 'm1')],
    [request('m1', 1), on('try', 'm1'), on('confirm', 'm1'), on('detach', 'm1')],
    [request('m2', 2, 'c'), on('try', 'm2'), request('m1', 1), on('try', 'm1')],
    [request('m2', 2, 'c'), on('try', 'm2'), on('confirm', 'm2'), request('m1', 1), on('try', 'm1')],
  ];
  for (const events of states) {
    const { state, effects } = playOn(
      play(...events).state,
      ...[on('release', 'm1'), on('release', 'm1'), on('release', 'm1')],
    );
    t.same(effects, [['stop-lease m1'], [], []]);
    t.equal(findEntry(state, 'm1'), undefined);
  }
  t.end();
});

void t.test('what the rules do not allow is refused and changes nothing', (t) => {
  const { state } = play(request('m1', 1), on('try', 'm1'), on('confirm', 'm1'), request('m2', 2, 'c'));
  const cases: [event: NodeQueueEvent, refusal: string][] = [
    [on('try', 'm9'), 'm9 unexpected-message'],
    [on('pass', 'm9'), 'm9 unexpected-message'],
    [on('confirm', 'm9'), 'm9 unexpected-message'],
    [on('keep', 'm9'), 'm9 unexpected-message'],
    [on('try', 'm1'), 'm1 unexpected-message'],
    [on('pass', 'm1'), 'm1 unexpected-message'],
    [on('keep', 'm1'), 'm1 unexpected-message'],
    [on('confirm', 'm1'), 'm1 unexpected-message'],
    [on('confirm', 'm2'), 'm2 unexpected-message'],
    [request('m1', 1), 'm1 duplicate-migration'],
    [request('m2', 2, 'c'), 'm2 duplicate-migration'],
  ];
  for (const [event, refusal] of cases) {
    const step = playOn(state, event);
    t.same(step.effects, [[`refuse ${refusal}`]]);
    t.equal(step.state, state);
  }
  const detached = playOn(state, on('detach', 'm2')).state;
  t.same(
    playOn(detached, request('m2', 2, 'x')).effects,
    [['refuse m2 duplicate-migration']],
    'another source',
  );
  t.same(playOn(detached, on('try', 'm2')).effects, [['refuse m2 unexpected-message']], 'before it requests');
  const full = playOn(state, request('m3', 3, 'c'), request('m4', 4, 'c')).state;
  t.same(playOn(full, request('m5', 5, 'c')).effects, [['refuse m5 limit-exceeded']]);
  t.end();
});

void t.test('the queue as operators see it', (t) => {
  const { state } = play(
    request('m2', 2),
    on('try', 'm2'),
    on('confirm', 'm2'),
    request('m3', 3, 'c'),
    on('try', 'm3'),
    request('m1', 1, 'd'),
  );
  t.same(
    queueEntries(state).map((entry) => [entry.migration, entry.position, entry.state, entry.waitsFor]),
    [
      ['m2', 0, 'running', []],
      [
        'm1',
        1,
        'waiting',
        [
          { node: 'b', holder: 'm2' },
          { node: 'd', holder: null },
        ],
      ],
      ['m3', 2, 'waiting', [{ node: 'b', holder: 'm2' }]],
    ],
  );
  t.same(lockStatus(state, 'm3'), {
    ...{ type: 'lock-status', position: 2, overtaken: 0, kept: false, holder: 'm2' },
  });
  t.equal(lockStatus(state, 'm2'), undefined);
  t.end();
});
