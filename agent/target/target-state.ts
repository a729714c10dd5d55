import { MigrationError } from '../../shared/errors.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';

/**
 * The receiving side of a migration as an explicit state machine. `transition` is pure; its effects are carried
 * out by target-steps.ts.
 *
 * The target decides the outcome: what it records first, 'committed' or 'aborted', holds. Up to 'ready' a lost link
 * or any failure discards its copy; from 'recording-commit' on the guest is its own, whatever becomes of the link.
 */
export type TargetState =
  | { readonly name: 'opened' }
  | { readonly name: 'preparing' }
  | { readonly name: 'receiving' }
  | { readonly name: 'loading' }
  /** Memory and state are complete; the guest stays paused until the commit. */
  | { readonly name: 'ready' }
  | { readonly name: 'recording-commit' }
  | { readonly name: 'resuming' }
  | { readonly name: 'running' }
  | { readonly name: 'aborting'; readonly error: MigrationError }
  | { readonly name: 'aborted'; readonly error: MigrationError };

type Message<T extends SourceMessage['type']> = Extract<SourceMessage, { type: T }>;
export type Prepare = Message<'prepare'>;
export type Finalize = Message<'finalize'>;
export type VerifyRequest = Message<'verify-request'>;

export type TargetEvent =
  | { readonly type: 'prepare'; readonly message: Prepare }
  | { readonly type: 'prepared' }
  /** A dry run was answered: nothing was created. */
  | { readonly type: 'reported' }
  | { readonly type: 'round-ended'; readonly round: number }
  | { readonly type: 'verify-request'; readonly message: VerifyRequest }
  | { readonly type: 'finalize'; readonly message: Finalize }
  | { readonly type: 'loaded'; readonly loadMs: number }
  | { readonly type: 'commit' }
  | { readonly type: 'commit-recorded' }
  /** 'aborted' was on record before. */
  | { readonly type: 'commit-refused' }
  /** The decision could not be written, and it is certain that it is not on record. */
  | { readonly type: 'record-failed'; readonly error: MigrationError }
  /** The guest is the node's own, and runs as it should unless `failure` says why not. */
  | {
      readonly type: 'resumed';
      readonly resumeMs: number;
      /** Unix ms; null if it does not run, or was not to. */
      readonly resumedAt: number | null;
      readonly failure: string | null;
    }
  | { readonly type: 'abort'; readonly error: MigrationError }
  | { readonly type: 'aborted' }
  /** A step failed, the peer broke the protocol or a connection ended. */
  | { readonly type: 'failed'; readonly error: MigrationError };

export type TargetEffect =
  | { readonly do: 'prepare'; readonly message: Prepare }
  | { readonly do: 'acknowledge-round'; readonly round: number }
  | { readonly do: 'send-hashes'; readonly message: VerifyRequest }
  | { readonly do: 'load'; readonly message: Finalize }
  | { readonly do: 'send-ready'; readonly loadMs: number }
  | { readonly do: 'record-commit' }
  | { readonly do: 'resume' }
  | {
      readonly do: 'send-running';
      readonly resumeMs: number;
      readonly resumedAt: number | null;
      readonly failure: string | null;
    }
  /**
   * Destroy the copy; with `record`, note durably first that the guest was not taken. The source is told the error,
   * or just 'aborted' where it asked for the abort.
   */
  | {
      readonly do: 'discard';
      readonly error: MigrationError;
      readonly record: boolean;
      readonly answer: 'error' | 'aborted';
    };

export interface TargetStep {
  readonly state: TargetState;
  readonly effect?: TargetEffect;
}

type StateName = TargetState['name'];
type EventType = TargetEvent['type'];
type StateOf<S extends StateName> = Extract<TargetState, { name: S }>;
type EventOf<E extends EventType> = Extract<TargetEvent, { type: E }>;
type Row<S extends StateName> = { [E in EventType]?: (state: StateOf<S>, event: EventOf<E>) => TargetStep };

const discard = (
  error: MigrationError,
  record: boolean,
  answer: 'error' | 'aborted' = 'error',
): TargetStep => ({
  state: { name: 'aborting', error },
  effect: { do: 'discard', error, record, answer },
});
const discardable = {
  failed: (_state: TargetState, { error }: EventOf<'failed'>) => discard(error, false),
  abort: (_state: TargetState, { error }: EventOf<'abort'>) => discard(error, false, 'aborted'),
};
const sendHashes = <S extends TargetState>(state: S, { message }: EventOf<'verify-request'>): TargetStep => ({
  state,
  effect: { do: 'send-hashes', message },
});

/** Every move there is. A message of the source that its state's row lacks is answered by `unexpected`. */
export const TARGET_TABLE: { readonly [S in StateName]: Row<S> } = {
  opened: {
    ...discardable,
    prepare: (_state, { message }) => ({ state: { name: 'preparing' }, effect: { do: 'prepare', message } }),
  },
  preparing: {
    ...discardable,
    prepared: () => ({ state: { name: 'receiving' } }),
    reported: () => ({ state: { name: 'opened' } }),
  },
  receiving: {
    ...discardable,
    'round-ended': (state, { round }) => ({ state, effect: { do: 'acknowledge-round', round } }),
    'verify-request': sendHashes,
    finalize: (_state, { message }) => ({ state: { name: 'loading' }, effect: { do: 'load', message } }),
  },
  loading: {
    ...discardable,
    loaded: (_state, { loadMs }) => ({ state: { name: 'ready' }, effect: { do: 'send-ready', loadMs } }),
  },
  ready: {
    failed: (_state, { error }) => discard(error, true),
    abort: (_state, { error }) => discard(error, true, 'aborted'),
    commit: () => ({ state: { name: 'recording-commit' }, effect: { do: 'record-commit' } }),
  },
  'recording-commit': {
    'commit-recorded': () => ({ state: { name: 'resuming' }, effect: { do: 'resume' } }),
    'commit-refused': () =>
      discard(
        new MigrationError('timeout', 'the target had given the migration up before the commit came'),
        false,
      ),
    'record-failed': (_state, { error }) => discard(error, true),
  },
  resuming: {
    resumed: (_state, { resumeMs, resumedAt, failure }) => ({
      state: { name: 'running' },
      effect: { do: 'send-running', resumeMs, resumedAt, failure },
    }),
  },
  running: { 'verify-request': sendHashes },
  aborting: { aborted: ({ error }) => ({ state: { name: 'aborted', error } }) },
  aborted: {},
};

const FROM_SOURCE: ReadonlySet<EventType> = new Set<EventType>([
  'prepare',
  'verify-request',
  'finalize',
  'commit',
  'abort',
]);

/** What `event` does in `state`; null if it means nothing there. */
export function transition(state: TargetState, event: TargetEvent): TargetStep | null {
  const row = TARGET_TABLE[state.name] as {
    [E in EventType]?: (s: TargetState, e: TargetEvent) => TargetStep;
  };
  return row[event.type]?.(state, event) ?? null;
}

/** Whether an event is a message of the source, which must fit the state, unlike results that come too late. */
export function isFromSource(event: TargetEvent): boolean {
  return FROM_SOURCE.has(event.type);
}
