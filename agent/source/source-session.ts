import type { MigrationPhase, MigrationResult, Outcome } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { InOrder } from '../../shared/in-order.js';
import { systemTimers } from '../../shared/timers.js';
import { Conversation } from './conversation.js';
import { MigrationReport, type MigrationSubject } from './migration-report.js';
import type { SourceContext } from './source-context.js';
import {
  canCancel,
  needsGuest,
  type SourceEffect,
  type SourceEvent,
  type SourceState,
  transition,
} from './source-state.js';
import { SourceSteps } from './source-steps.js';

export {
  SOURCE_TIMEOUTS,
  type SourceContext,
  type SourceProgress,
  type SourceTimeouts,
} from './source-context.js';

/**
 * One migration, on the side that the guest leaves: drives source-state.ts. Its effects are carried out by
 * source-steps.ts.
 */
export class SourceSession {
  /** The result, as soon as it can be told: at the end, or when the outcome has been unknown for long. */
  readonly reported: Promise<MigrationResult>;
  /** The result once the outcome is certain. Stays open if the session is disposed of before. */
  readonly settled: Promise<MigrationResult>;

  readonly #context: SourceContext;
  readonly #conversation: Conversation;
  readonly #report: MigrationReport;
  readonly #steps: SourceSteps;
  readonly #startedAt: number;
  readonly #dispose = new AbortController();
  readonly #events = new InOrder<SourceEvent>((event) => this.#take(event));
  readonly #unwatchGuest: () => void;
  #state: SourceState = { name: 'preparing' };
  #step: Promise<void> = Promise.resolve();
  #resolveReported!: (result: MigrationResult) => void;
  #resolveSettled!: (result: MigrationResult) => void;

  constructor(context: SourceContext) {
    this.#context = context;
    this.#startedAt = context.now();
    this.#report = new MigrationReport(context.subject, context.guest, context.options);
    this.reported = new Promise((resolve) => (this.#resolveReported = resolve));
    this.settled = new Promise((resolve) => (this.#resolveSettled = resolve));
    const dispatch = (event: SourceEvent) => this.#dispatch(event);
    this.#conversation = new Conversation(
      context.control,
      context.subject.to,
      (error) => dispatch({ type: 'failed', error }),
      context.timers,
    );
    this.#steps = new SourceSteps({
      ...context,
      onProgress: (progress) => this.#tell(() => context.onProgress(progress)),
      onRound: (round, thresholdBytes) => this.#tell(() => context.onRound(round, thresholdBytes)),
      conversation: this.#conversation,
      report: this.#report,
      dispatch,
      fail: (error) => this.#fail(error),
      dispose: this.#dispose.signal,
    });
    this.#unwatchGuest = context.guest.onChange(() => this.#guestChanged());
    this.#announce();
    this.#perform({ do: 'prepare' });
  }

  get state(): SourceState {
    return this.#state;
  }

  /**
   * Cancels, or joins in where the migration is being given up already. Resolves when the guest runs on here; throws
   * too-late once the commit may have been sent.
   */
  async cancel(): Promise<void> {
    if (canCancel(this.#state)) this.#dispatch({ type: 'cancel' });
    else if (this.#state.name !== 'aborting' && this.#state.name !== 'failed') {
      const { id, to } = this.#context.subject;
      throw new MigrationError(
        'too-late',
        `migration ${id} can no longer be cancelled: it is ${this.#state.name}; where it moved, migrate it back from ${to}`,
      );
    }
    await this.reported;
  }

  /** Gives up asking for an outcome; the journal still has the question. For the shutdown of the agent. */
  dispose(): void {
    this.#dispose.abort(new MigrationError('shutting-down', 'the agent is shutting down'));
  }

  /** A guest that dies before all of it is at the target takes the migration with it. */
  #guestChanged(): void {
    const { failure } = this.#context.guest;
    if (failure && needsGuest(this.#state)) this.#fail(toMigrationError(failure, 'guest-failed'));
  }

  /** Events follow each other, also where a listener causes one (a cancel) while another is dealt with. */
  #dispatch(event: SourceEvent): void {
    this.#events.push(event);
  }

  #take(event: SourceEvent): void {
    const step = transition(this.#state, event);
    if (step === null) return;
    this.#state = step.state;
    this.#announce();
    if (step.state.name === 'aborting') this.#steps.interrupt(step.state.error);
    if (step.effect) this.#perform(step.effect);
    else this.#end();
  }

  #announce(): void {
    const state = this.#state;
    this.#tell(() => this.#context.onState(state, PHASES[state.name]));
  }

  /** Whoever watches must not be able to upset the migration. */
  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#context.onWarning('a listener for the progress of the migration failed', error);
    }
  }

  /** Runs an effect and feeds its outcome back. Effects follow each other; an abort waits for what it interrupts. */
  #perform(effect: SourceEffect): void {
    if (effect.do === 'report-unknown') {
      this.#resolveReported(this.#result('unknown'));
      return;
    }
    const before = this.#step;
    this.#step = (async () => {
      if (effect.do === 'abort') await before;
      let event: SourceEvent;
      try {
        event = await this.#steps.carryOut(effect);
      } catch (error) {
        this.#fail(toMigrationError(error));
        return;
      }
      this.#dispatch(event);
    })();
  }

  /**
   * A lost link, and page connections that the target does not expect any more, wait for a better explanation: it may have
   * said on the control connection why it gave up.
   */
  #fail(error: MigrationError): void {
    const dispatch = () => this.#dispatch({ type: 'failed', error });
    const { timers = systemTimers, timeouts } = this.#context;
    const unexplained = error.code === 'link-lost' || error.code === 'not-found';
    if (unexplained && this.#conversation.open) timers.after(timeouts.explanationMs, dispatch);
    else dispatch();
  }

  #end(): void {
    this.#unwatchGuest();
    this.#conversation.end(null);
    const { state } = this;
    const result =
      state.name === 'completed'
        ? this.#result('completed')
        : this.#result(state.name === 'failed' && state.error.code === 'cancelled' ? 'cancelled' : 'failed');
    this.#resolveReported(result);
    this.#resolveSettled(result);
  }

  #result(outcome: Outcome): MigrationResult {
    this.#report.wireBytes = this.#steps.wireBytes;
    return this.#report.result(outcome, this.#error(outcome), this.#context.now() - this.#startedAt);
  }

  #error(outcome: Outcome): MigrationError | null {
    const { state } = this;
    if ('error' in state) {
      return outcome === 'unknown' ? unknownOutcome(this.#context.subject, state.error) : state.error;
    }
    if (this.#report.resumeFailure) return this.#report.resumeFailure;
    const { mismatches, pagesChecked, first, failure } = this.#report.comparison;
    if (mismatches === 0) return failure;
    return new MigrationError(
      'verify-mismatch',
      `${mismatches} of ${pagesChecked} pages were not the same on both nodes when the VM ` +
        `moved (the first: page ${first?.page} of ${first?.region}): do not trust it, restart it`,
    );
  }
}

function unknownOutcome({ id, vm, to }: MigrationSubject, cause: MigrationError): MigrationError {
  return new MigrationError(
    'outcome-unknown',
    `VM ${vm} is paused here: the commit of migration ${id} was sent and node ${to} has not been heard of since ` +
      `(${cause.message}). It goes on asking. Bring ${to} or the link back, and do not start ${vm} anywhere by hand; ` +
      `where that can't be done, 'vmferry vm resolve ${vm}' says what can`,
    { cause },
  );
}

const PHASES: { readonly [S in SourceState['name']]: MigrationPhase } = {
  preparing: 'preparing',
  copying: 'copying',
  pausing: 'switching-over',
  'switching-over': 'switching-over',
  verifying: 'verifying',
  finalizing: 'switching-over',
  'recording-commit': 'committing',
  committing: 'committing',
  asking: 'asking',
  unknown: 'asking',
  releasing: 'completing',
  aborting: 'aborting',
  completed: 'ended',
  failed: 'ended',
};
