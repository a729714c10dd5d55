import t from 'tap';
import {
  isFromSource,
  TARGET_TABLE,
  type TargetEffect,
  type TargetState,
  transition,
} from '../../agent/target/target-state.js';
import {
  EVENT_ERROR,
  STATE_ERROR,
  TARGET_EVENTS,
  TARGET_STATES,
  type TargetEventLabel,
} from '../support/machine-samples.js';

type Move = [next: TargetState['name'], effect: TargetEffect['do'] | '-'];

const discardable: Partial<Record<TargetEventLabel, Move>> = {
  failed: ['aborting', 'discard'],
  abort: ['aborting', 'discard'],
};

/** Every state and every event: what is not here is ignored, or the source's error where it is a message of it. */
const EXPECTED: Record<TargetState['name'], Partial<Record<TargetEventLabel, Move>>> = {
  opened: { ...discardable, prepare: ['preparing', 'prepare'] },
  preparing: { ...discardable, prepared: ['receiving', '-'], reported: ['opened', '-'] },
  receiving: {
    ...discardable,
    'round-ended': ['receiving', 'acknowledge-round'],
    'verify-request': ['receiving', 'send-hashes'],
    finalize: ['loading', 'load'],
  },
  loading: { ...discardable, loaded: ['ready', 'send-ready'] },
  ready: { ...discardable, commit: ['recording-commit', 'record-commit'] },
  'recording-commit': {
    'commit-recorded': ['resuming', 'resume'],
    'commit-refused': ['aborting', 'discard'],
    'record-failed': ['aborting', 'discard'],
  },
  resuming: { resumed: ['running', 'send-running'] },
  running: { 'verify-request': ['running', 'send-hashes'] },
  aborting: { aborted: ['aborted', '-'] },
  aborted: {},
};

const states = Object.values(TARGET_STATES);
const labels = Object.keys(TARGET_EVENTS) as TargetEventLabel[];

void t.test('every state and every event', (t) => {
  for (const state of states) {
    for (const label of labels) {
      const step = transition(state, TARGET_EVENTS[label]);
      const actual = step === null ? 'ignored' : [step.state.name, step.effect?.do ?? '-'];
      t.strictSame(actual, EXPECTED[state.name][label] ?? 'ignored', `${state.name}: ${label}`);
    }
  }
  t.end();
});

void t.test('the samples have every event that the table knows', (t) => {
  for (const row of Object.values(TARGET_TABLE)) {
    for (const type of Object.keys(row)) t.ok(Object.hasOwn(TARGET_EVENTS, type), type);
  }
  t.end();
});

void t.test('that the guest was not taken goes on record once the source may have sent the commit', (t) => {
  const recorded: [state: string, event: string, answer: string][] = [];
  const unrecorded: string[] = [];
  for (const state of states) {
    for (const label of labels) {
      const effect = transition(state, TARGET_EVENTS[label])?.effect;
      if (effect?.do !== 'discard') continue;
      if (effect.record) recorded.push([state.name, label, effect.answer]);
      else unrecorded.push(state.name);
    }
  }
  t.strictSame(recorded, [
    ['ready', 'abort', 'aborted'],
    ['ready', 'failed', 'error'],
    ['recording-commit', 'record-failed', 'error'],
  ]);
  t.strictSame(
    [...new Set(unrecorded)],
    ['opened', 'preparing', 'receiving', 'loading', 'recording-commit'],
    'the last of them where it is on record already',
  );
  t.end();
});

void t.test('the error that ends it is the one that began its end', (t) => {
  t.match(transition(TARGET_STATES.ready, TARGET_EVENTS.failed)?.state, { error: EVENT_ERROR });
  t.match(transition(TARGET_STATES.aborting, TARGET_EVENTS.aborted)?.state, { error: STATE_ERROR });
  t.end();
});

void t.test('messages of the source are told from results of steps', (t) => {
  t.strictSame(
    labels.filter((label) => isFromSource(TARGET_EVENTS[label])),
    ['prepare', 'verify-request', 'finalize', 'commit', 'abort'],
  );
  t.end();
});
