import t from 'tap';
import {
  canCancel,
  SOURCE_TABLE,
  type SourceEffect,
  type SourceState,
  transition,
} from '../../agent/source/source-state.js';
import {
  EVENT_ERROR,
  RESUME_ERROR,
  SOURCE_EVENTS,
  SOURCE_STATES,
  type SourceEventLabel,
  STATE_ERROR,
} from '../support/machine-samples.js';

type Move = [next: SourceState['name'], effect: SourceEffect['do'] | '-'];

const abortable: Partial<Record<SourceEventLabel, Move>> = {
  failed: ['aborting', 'abort'],
  cancel: ['aborting', 'abort'],
};

/** Every state and every event: what is not here is ignored. */
const EXPECTED: Record<SourceState['name'], Partial<Record<SourceEventLabel, Move>>> = {
  preparing: { ...abortable, prepared: ['copying', 'copy-round'] },
  copying: {
    ...abortable,
    'round-copied (round)': ['copying', 'copy-round'],
    'round-copied (switch-over)': ['pausing', 'pause'],
    'round-copied (cancel)': ['aborting', 'abort'],
  },
  pausing: { ...abortable, paused: ['switching-over', 'switch-over'] },
  'switching-over': {
    ...abortable,
    'state-sent': ['finalizing', 'finalize'],
    'state-sent (verify)': ['verifying', 'verify'],
  },
  verifying: { ...abortable, verified: ['finalizing', 'finalize'] },
  finalizing: { ...abortable, ready: ['recording-commit', 'record-commit'] },
  'recording-commit': { failed: ['aborting', 'abort'], 'commit-recorded': ['committing', 'commit'] },
  committing: { running: ['releasing', 'release'], failed: ['asking', 'ask'] },
  asking: {
    'answered (committed)': ['releasing', 'release'],
    'answered (aborted)': ['aborting', 'abort'],
    unanswered: ['unknown', 'report-unknown'],
  },
  unknown: {
    'answered (committed)': ['releasing', 'release'],
    'answered (aborted)': ['aborting', 'abort'],
  },
  releasing: { released: ['completed', '-'] },
  aborting: { aborted: ['failed', '-'], 'aborted (paused)': ['failed', '-'] },
  completed: {},
  failed: {},
};

const states = Object.values(SOURCE_STATES);
const labels = Object.keys(SOURCE_EVENTS) as SourceEventLabel[];

void t.test('every state and every event', (t) => {
  for (const state of states) {
    for (const label of labels) {
      const step = transition(state, SOURCE_EVENTS[label]);
      const actual = step === null ? 'ignored' : [step.state.name, step.effect?.do ?? '-'];
      t.strictSame(actual, EXPECTED[state.name][label] ?? 'ignored', `${state.name}: ${label}`);
    }
  }
  t.end();
});

void t.test('the samples have every event that the table knows', (t) => {
  const types = new Set<string>(Object.values(SOURCE_EVENTS).map(({ type }) => type));
  for (const row of Object.values(SOURCE_TABLE)) {
    for (const type of Object.keys(row)) t.ok(types.has(type), type);
  }
  t.end();
});

void t.test('rounds are counted', (t) => {
  const { copying, pausing } = SOURCE_STATES;
  t.strictSame(transition(SOURCE_STATES.preparing, SOURCE_EVENTS.prepared), {
    state: { name: 'copying', round: 0 },
    effect: { do: 'copy-round', round: 0 },
  });
  t.strictSame(transition(copying, SOURCE_EVENTS['round-copied (round)']), {
    state: { name: 'copying', round: 4 },
    effect: { do: 'copy-round', round: 4 },
  });
  t.strictSame(transition(copying, SOURCE_EVENTS['round-copied (switch-over)'])?.state, pausing);
  t.strictSame(transition(pausing, SOURCE_EVENTS.paused)?.effect, { do: 'switch-over', round: 4 });
  t.end();
});

void t.test('the error that ends a migration is the one that began its end', (t) => {
  const errorOf = (state: SourceState, label: SourceEventLabel) => {
    const next = transition(state, SOURCE_EVENTS[label])?.state;
    return next && 'error' in next ? next.error : null;
  };
  t.equal(errorOf(SOURCE_STATES.copying, 'failed'), EVENT_ERROR);
  t.equal(errorOf(SOURCE_STATES.committing, 'failed'), EVENT_ERROR);
  t.equal(errorOf(SOURCE_STATES.asking, 'unanswered'), STATE_ERROR);
  t.equal(errorOf(SOURCE_STATES.asking, 'answered (aborted)'), STATE_ERROR);
  t.equal(errorOf(SOURCE_STATES.unknown, 'answered (aborted)'), STATE_ERROR);
  t.equal(errorOf(SOURCE_STATES.aborting, 'aborted'), STATE_ERROR);
  t.equal(
    errorOf(SOURCE_STATES.aborting, 'aborted (paused)'),
    RESUME_ERROR,
    'but for a guest that stands still',
  );
  t.equal(errorOf(SOURCE_STATES.copying, 'cancel')?.code, 'cancelled');
  t.equal(errorOf(SOURCE_STATES.copying, 'round-copied (cancel)')?.code, 'not-converging');
  t.end();
});

void t.test('cancelling is possible up to the record of the commit', (t) => {
  t.strictSame(
    states.filter(canCancel).map(({ name }) => name),
    ['preparing', 'copying', 'pausing', 'switching-over', 'verifying', 'finalizing'],
  );
  t.end();
});
