import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { InOrder } from '../../shared/in-order.js';
import { PAGE_SIZE } from '../../shared/page.js';
import type { SourceMessage } from '../../shared/protocol/messages.js';
import { systemTimers } from '../../shared/timers.js';
import { errorMessage } from '../link/error-message.js';
import type { TargetContext } from './target-context.js';
import {
  type Finalize,
  isFromSource,
  type Prepare,
  type TargetEffect,
  type TargetEvent,
  type TargetState,
  transition,
  type VerifyRequest,
} from './target-state.js';
import { TargetSteps } from './target-steps.js';

/**
 * A source that has heard 'ready' records the commit and sends it: two messages and an fsync. One that takes longer,
 * its connection alive, must not hold the node's lock and memory for ever. ms
 */
export const COMMIT_TIMEOUT_MS = 60_000;

/**
 * One migration, on the side that the guest comes to: drives target-state.ts. Its effects are carried out by
 * target-steps.ts.
 */
export class TargetSession {
  readonly #context: TargetContext;
  readonly #events = new InOrder<TargetEvent>((event) => this.#take(event));
  readonly #steps: TargetSteps;
  #state: TargetState = { name: 'opened' };
  #prepare: Prepare | null = null;
  /** Has come before the end of the round that it is about: they travel on connections of their own. */
  #earlyFinalize: Finalize | null = null;
  /** Pages whose hashes were asked for. */
  #pagesAsked = 0;
  /** A verify-request is being answered: one at a time, for each costs a thousand times of what it takes to ask. */
  #hashesDue = false;
  #step: Promise<void> = Promise.resolve();
  readonly #ending = new AbortController();
  #cancelCommitTimeout: () => void = () => undefined;
  #settle!: () => void;
  /** Resolves when the guest runs here or everything of it is discarded; or the agent ends, the commit being uncertain. */
  readonly settled: Promise<void>;

  constructor(context: TargetContext) {
    this.#context = context;
    this.settled = new Promise((resolve) => (this.#settle = resolve));
    this.#steps = new TargetSteps({
      ...context,
      state: () => this.#state,
      dispatch: (event) => this.#dispatch(event),
      fail: (error) => this.fail(error),
      onRoundOver: (round) => this.#roundOver(round),
      unexpected: (what) => this.#unexpected(what),
      settle: () => this.#settle(),
      ending: this.#ending.signal,
    });
  }

  get state(): TargetState {
    return this.#state;
  }

  /** What the page streams have delivered, as it counts for the progress of the source. */
  get pageBytes(): number {
    return this.#steps.pageBytes;
  }

  /**
   * Takes a message of the source that is not for the lock. One that does not fit the state fails the migration. Throws
   * limit-exceeded for one that the connection is to end with.
   */
  receive(message: SourceMessage): void {
    switch (message.type) {
      case 'prepare':
        this.#dispatch({ type: 'prepare', message });
        break;
      case 'verify-request':
        this.#countAsked(message);
        this.#dispatch({ type: 'verify-request', message });
        break;
      case 'finalize':
        this.#takeFinalize(message);
        break;
      case 'commit':
        this.#dispatch({ type: 'commit' });
        break;
      case 'abort': {
        const error = new MigrationError(message.code, `node ${this.#context.peer}: ${message.message}`);
        this.#dispatch({ type: 'abort', error });
        break;
      }
      default:
        this.#reject(this.#unexpected(message.type));
    }
  }

  /** A source compares once, before or after the commit. One that asks on would keep this node at work for ever. */
  #countAsked({ pageCount }: VerifyRequest): void {
    if (!this.#prepare) return;
    const pages = this.#prepare.regions.reduce((sum, { bytes }) => sum + bytes / PAGE_SIZE, 0);
    this.#pagesAsked += pageCount;
    if (this.#pagesAsked <= pages) return;
    const text = `hashes of ${this.#pagesAsked} pages were asked for, and the guest has ${pages}: each page once`;
    throw new MigrationError('limit-exceeded', text);
  }

  /** It counts once all streams have ended its round, and waits for that where it has overtaken them. */
  #takeFinalize(message: Finalize): void {
    if (this.#earlyFinalize) this.#reject(this.#unexpected('finalize'));
    else if (this.#state.name === 'receiving' && message.round >= this.#steps.roundsOver) {
      this.#earlyFinalize = message;
    } else this.#dispatch({ type: 'finalize', message });
  }

  #roundOver(round: number): void {
    this.#dispatch({ type: 'round-ended', round });
    const finalize = this.#earlyFinalize;
    if (finalize === null || finalize.round > round) return;
    this.#earlyFinalize = null;
    this.#dispatch({ type: 'finalize', message: finalize });
  }

  /** Something outside of the steps failed: a connection ended, the peer broke the protocol, the agent shuts down. */
  fail(error: MigrationError): void {
    this.#dispatch({ type: 'failed', error });
  }

  #unexpected(what: string): MigrationError {
    const { migration } = this.#context;
    return new MigrationError(
      'unexpected-message',
      `'${what}' came while migration ${migration} is ${this.#state.name}`,
    );
  }

  /** Events follow each other, also where a listener causes one while another is dealt with. */
  #dispatch(event: TargetEvent): void {
    this.#events.push(event);
  }

  #take(event: TargetEvent): void {
    const step = transition(this.#state, event);
    if (step === null) {
      // The results of steps that an abort overtook mean nothing; a message out of place is the peer's error.
      if (isFromSource(event)) this.#reject(this.#unexpected(event.type));
      return;
    }
    if (step.effect?.do === 'send-hashes') {
      if (this.#hashesDue) {
        const text = `'verify-request' came before the one before it was answered`;
        this.#reject(new MigrationError('unexpected-message', text));
        return;
      }
      this.#hashesDue = true;
    }
    if (event.type === 'prepare') this.#prepare = event.message;
    const moved = step.state.name !== this.#state.name;
    this.#state = step.state;
    if (moved) this.#entered(step.state);
    if (step.effect) this.#perform(step.effect);
    if (step.state.name === 'aborted') this.#settle();
  }

  #entered(state: TargetState): void {
    const { onState, onWarning, timers = systemTimers } = this.#context;
    this.#cancelCommitTimeout();
    // The step that opens streams ends at once, and what it prepared is discarded.
    if (state.name === 'aborting') this.#ending.abort(state.error);
    if (state.name === 'ready') {
      this.#cancelCommitTimeout = timers.after(COMMIT_TIMEOUT_MS, () => {
        const text = `node ${this.#context.peer} did not send the commit within ${COMMIT_TIMEOUT_MS} ms`;
        this.fail(new MigrationError('timeout', text));
      });
    }
    try {
      onState(state, this.#prepare);
    } catch (error) {
      onWarning('a listener for the progress of the migration failed', error);
    }
  }

  /** Fails the migration, or just says so where the guest is the node's own already; an end that has begun has its reason. */
  #reject(error: MigrationError): void {
    const over = this.#state.name === 'aborting' || this.#state.name === 'aborted';
    if (transition(this.#state, { type: 'failed', error })) this.fail(error);
    else if (!over) this.#steps.send(errorMessage(error));
  }

  /** Runs an effect after the one before it, and feeds its outcome back. */
  #perform(effect: TargetEffect): void {
    this.#step = this.#step.then(async () => {
      if (effect.do === 'send-hashes') this.#hashesDue = false;
      try {
        const event = await this.#steps.carryOut(effect);
        if (event) this.#dispatch(event);
      } catch (error) {
        this.#reject(toMigrationError(error));
      }
    });
  }
}
