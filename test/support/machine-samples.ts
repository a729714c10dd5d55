import type { Decision } from '../../agent/source/convergence.js';
import type { SourceEvent, SourceState } from '../../agent/source/source-state.js';
import type { TargetEvent, TargetState } from '../../agent/target/target-state.js';
import { MigrationError } from '../../shared/errors.js';
import { definitionOf } from './array-guest.js';

/** One of every state and every event of both machines, and events that make a difference by what they carry. */

const decision = (next: Decision['next']): Decision => ({
  next,
  reason: next === 'round' ? 'above-threshold' : next === 'cancel' ? 'stalled' : 'below-threshold',
  thresholdBytes: 0,
});

/** The error that a state carries. */
export const STATE_ERROR = new MigrationError('link-lost', 'why the state was entered');
/** The error that an event carries. */
export const EVENT_ERROR = new MigrationError('timeout', 'why the step failed');
/** Why a guest could not be resumed after an abort. */
export const RESUME_ERROR = new MigrationError('guest-failed', 'why it stands still');

export const SOURCE_STATES: { readonly [S in SourceState['name']]: Extract<SourceState, { name: S }> } = {
  preparing: { name: 'preparing' },
  copying: { name: 'copying', round: 3 },
  pausing: { name: 'pausing', round: 4 },
  'switching-over': { name: 'switching-over', round: 4 },
  verifying: { name: 'verifying' },
  finalizing: { name: 'finalizing' },
  'recording-commit': { name: 'recording-commit' },
  committing: { name: 'committing' },
  asking: { name: 'asking', error: STATE_ERROR },
  unknown: { name: 'unknown', error: STATE_ERROR },
  releasing: { name: 'releasing' },
  aborting: { name: 'aborting', error: STATE_ERROR },
  completed: { name: 'completed' },
  failed: { name: 'failed', error: STATE_ERROR },
};

/** By a label: the type, and what of the content decides. */
export const SOURCE_EVENTS = {
  prepared: { type: 'prepared' },
  'round-copied (round)': { type: 'round-copied', decision: decision('round') },
  'round-copied (switch-over)': { type: 'round-copied', decision: decision('switch-over') },
  'round-copied (cancel)': { type: 'round-copied', decision: decision('cancel') },
  paused: { type: 'paused' },
  'state-sent': { type: 'state-sent', verify: false },
  'state-sent (verify)': { type: 'state-sent', verify: true },
  verified: { type: 'verified' },
  ready: { type: 'ready' },
  'commit-recorded': { type: 'commit-recorded' },
  running: { type: 'running' },
  'answered (committed)': { type: 'answered', outcome: 'committed' },
  'answered (aborted)': { type: 'answered', outcome: 'aborted' },
  unanswered: { type: 'unanswered' },
  released: { type: 'released' },
  aborted: { type: 'aborted', error: null },
  'aborted (paused)': { type: 'aborted', error: RESUME_ERROR },
  failed: { type: 'failed', error: EVENT_ERROR },
  cancel: { type: 'cancel' },
} as const satisfies Record<string, SourceEvent>;
export type SourceEventLabel = keyof typeof SOURCE_EVENTS;

export const TARGET_STATES: { readonly [S in TargetState['name']]: Extract<TargetState, { name: S }> } = {
  opened: { name: 'opened' },
  preparing: { name: 'preparing' },
  receiving: { name: 'receiving' },
  loading: { name: 'loading' },
  ready: { name: 'ready' },
  'recording-commit': { name: 'recording-commit' },
  resuming: { name: 'resuming' },
  running: { name: 'running' },
  aborting: { name: 'aborting', error: STATE_ERROR },
  aborted: { name: 'aborted', error: STATE_ERROR },
};

export const TARGET_EVENTS = {
  prepare: {
    type: 'prepare',
    message: {
      type: 'prepare',
      definition: definitionOf('vm'),
      imageBytes: 0,
      regions: [{ name: 'ram0', bytes: 2 ** 20 }],
      traits: {},
      streams: 1,
      verify: 'off',
      dryRun: false,
    },
  },
  prepared: { type: 'prepared' },
  reported: { type: 'reported' },
  'round-ended': { type: 'round-ended', round: 2 },
  'verify-request': {
    type: 'verify-request',
    message: { type: 'verify-request', region: 0, firstPage: 0, pageCount: 1 },
  },
  finalize: {
    type: 'finalize',
    message: { type: 'finalize', round: 0, stateDigest: '0'.repeat(16), pagesSent: 0, resume: true },
  },
  loaded: { type: 'loaded', loadMs: 1 },
  commit: { type: 'commit' },
  'commit-recorded': { type: 'commit-recorded' },
  'commit-refused': { type: 'commit-refused' },
  'record-failed': { type: 'record-failed', error: EVENT_ERROR },
  resumed: { type: 'resumed', resumeMs: 1, resumedAt: 1_767_225_600_000, failure: null },
  abort: { type: 'abort', error: EVENT_ERROR },
  aborted: { type: 'aborted' },
  failed: { type: 'failed', error: EVENT_ERROR },
} as const satisfies { [E in TargetEvent['type']]: Extract<TargetEvent, { type: E }> };
export type TargetEventLabel = keyof typeof TARGET_EVENTS;
