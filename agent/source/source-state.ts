import { MigrationError } from '../../shared/errors.js';
import { type Decision, SWITCHOVER_OVERHEAD_MS } from './convergence.js';

/**
 * The sending side of a migration as an explicit state machine. `transition` is pure; what it asks for
 * (effects) is done by source-steps.ts; source-session.ts drives it and feeds back what came of them.
 *
 * Until 'recording-commit' every failure and a cancel lead to 'aborting': the guest goes on here. From 'committing'
 * on only the target's answer decides, so failures lead to 'asking'.
 */
export type SourceState =
  | { readonly name: 'preparing' }
  | { readonly name: 'copying'; readonly round: number }
  | { readonly name: 'pausing'; readonly round: number }
  /** The guest is paused; the residual and the device state are on their way. */
  | { readonly name: 'switching-over'; readonly round: number }
  | { readonly name: 'verifying' }
  | { readonly name: 'finalizing' }
  | { readonly name: 'recording-commit' }
  | { readonly name: 'committing' }
  /** The commit was sent and the connection failed: only the target knows the outcome. */
  | { readonly name: 'asking'; readonly error: MigrationError }
  /** As asking, for longer than anybody should wait for silently: the operator has been told. */
  | { readonly name: 'unknown'; readonly error: MigrationError }
  /** The target owns the guest. */
  | { readonly name: 'releasing' }
  | { readonly name: 'aborting'; readonly error: MigrationError }
  | { readonly name: 'completed' }
  | { readonly name: 'failed'; readonly error: MigrationError };

export type SourceEvent =
  | { readonly type: 'prepared' }
  | { readonly type: 'round-copied'; readonly decision: Decision }
  | { readonly type: 'paused' }
  | { readonly type: 'state-sent'; readonly verify: boolean }
  | { readonly type: 'verified' }
  | { readonly type: 'ready' }
  | { readonly type: 'commit-recorded' }
  | { readonly type: 'running' }
  | { readonly type: 'answered'; readonly outcome: 'committed' | 'aborted' }
  | { readonly type: 'unanswered' }
  | { readonly type: 'released' }
  /** `error`: why the guest does not run on here although it should. */
  | { readonly type: 'aborted'; readonly error: MigrationError | null }
  /** A step failed, the peer reported an error or a connection ended. */
  | { readonly type: 'failed'; readonly error: MigrationError }
  | { readonly type: 'cancel' };

export type SourceEffect =
  | { readonly do: 'prepare' }
  | { readonly do: 'copy-round'; readonly round: number }
  | { readonly do: 'pause' }
  | { readonly do: 'switch-over'; readonly round: number }
  | { readonly do: 'verify' }
  | { readonly do: 'finalize' }
  | { readonly do: 'record-commit' }
  | { readonly do: 'commit' }
  | { readonly do: 'ask' }
  | { readonly do: 'report-unknown' }
  /** Give up the source copy. */
  | { readonly do: 'release' }
  /** Let the guest go on here, and tell the target. */
  | { readonly do: 'abort' };

export interface SourceStep {
  readonly state: SourceState;
  readonly effect?: SourceEffect;
}

type StateName = SourceState['name'];
type EventType = SourceEvent['type'];
type StateOf<S extends StateName> = Extract<SourceState, { name: S }>;
type EventOf<E extends EventType> = Extract<SourceEvent, { type: E }>;
type Row<S extends StateName> = { [E in EventType]?: (state: StateOf<S>, event: EventOf<E>) => SourceStep };

const abort = (error: MigrationError): SourceStep => ({
  state: { name: 'aborting', error },
  effect: { do: 'abort' },
});
const release: SourceStep = { state: { name: 'releasing' }, effect: { do: 'release' } };

const abortable = {
  failed: (_state: SourceState, event: EventOf<'failed'>) => abort(event.error),
  cancel: () => abort(new MigrationError('cancelled', 'the migration was cancelled on request')),
};
const ask = (_state: SourceState, { error }: EventOf<'failed'>): SourceStep => ({
  state: { name: 'asking', error },
  effect: { do: 'ask' },
});
const resolved = (state: StateOf<'asking'> | StateOf<'unknown'>, event: EventOf<'answered'>): SourceStep =>
  event.outcome === 'committed' ? release : abort(state.error);

function whyCancelled({ reason, thresholdBytes }: Decision, rounds: number): string {
  const limit = `${reason} after ${rounds} rounds, the options say cancel`;
  return thresholdBytes === 0
    ? `the downtime limit leaves nothing for what the guest writes (${limit}): about ${SWITCHOVER_OVERHEAD_MS} ms go into the ` +
        'switchover itself; allow more, or ask for switch-over at the limit'
    : `the guest writes faster than the link carries (${limit}): allow more downtime or bandwidth, or ask for switch-over at ` +
        'the limit';
}

function afterRound(state: StateOf<'copying'>, { decision }: EventOf<'round-copied'>): SourceStep {
  const round = state.round + 1;
  switch (decision.next) {
    case 'round':
      return { state: { name: 'copying', round }, effect: { do: 'copy-round', round } };
    case 'switch-over':
      return { state: { name: 'pausing', round }, effect: { do: 'pause' } };
    case 'cancel':
      return abort(new MigrationError('not-converging', whyCancelled(decision, round)));
  }
}

/** Every move there is. What is absent changes nothing: results of effects that were overtaken by an abort. */
export const SOURCE_TABLE: { readonly [S in StateName]: Row<S> } = {
  preparing: {
    ...abortable,
    prepared: () => ({ state: { name: 'copying', round: 0 }, effect: { do: 'copy-round', round: 0 } }),
  },
  copying: { ...abortable, 'round-copied': afterRound },
  pausing: {
    ...abortable,
    paused: ({ round }) => ({
      state: { name: 'switching-over', round },
      effect: { do: 'switch-over', round },
    }),
  },
  'switching-over': {
    ...abortable,
    'state-sent': (_state, { verify }) =>
      verify
        ? { state: { name: 'verifying' }, effect: { do: 'verify' } }
        : { state: { name: 'finalizing' }, effect: { do: 'finalize' } },
  },
  verifying: {
    ...abortable,
    verified: () => ({ state: { name: 'finalizing' }, effect: { do: 'finalize' } }),
  },
  finalizing: {
    ...abortable,
    ready: () => ({ state: { name: 'recording-commit' }, effect: { do: 'record-commit' } }),
  },
  'recording-commit': {
    // The commit is sent after its record alone, so a failure here still leaves the guest ours.
    failed: abortable.failed,
    'commit-recorded': () => ({ state: { name: 'committing' }, effect: { do: 'commit' } }),
  },
  committing: { running: () => release, failed: ask },
  asking: {
    answered: resolved,
    unanswered: ({ error }) => ({ state: { name: 'unknown', error }, effect: { do: 'report-unknown' } }),
  },
  unknown: { answered: resolved },
  releasing: {
    released: () => ({ state: { name: 'completed' } }),
  },
  aborting: {
    aborted: (state, event) => ({ state: { name: 'failed', error: event.error ?? state.error } }),
  },
  completed: {},
  failed: {},
};

/** What `event` does in `state`; null if it means nothing there. */
export function transition(state: SourceState, event: SourceEvent): SourceStep | null {
  const row = SOURCE_TABLE[state.name] as {
    [E in EventType]?: (s: SourceState, e: SourceEvent) => SourceStep;
  };
  return row[event.type]?.(state, event) ?? null;
}

/** Whether a cancel is still possible. */
export function canCancel(state: SourceState): boolean {
  return 'cancel' in SOURCE_TABLE[state.name];
}

/** Whether the target still lacks something of the guest: once it has all, the death of the machine here loses nothing. */
export function needsGuest(state: SourceState): boolean {
  return canCancel(state) && state.name !== 'finalizing';
}
