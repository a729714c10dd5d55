import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { delay, type Timers } from '../../shared/timers.js';
import type { MigrationSubject } from './migration-report.js';
import type { SourceContext } from './source-context.js';

export type Outcome = 'committed' | 'aborted';

type QuestionContext = Pick<
  SourceContext,
  'subject' | 'askOutcome' | 'timeouts' | 'onWarning' | 'onQuestion'
>;

/** A commit that was sent and not heard of since, which the target's word settles, or the operator's. */
export class OutcomeQuestion {
  readonly subject: MigrationSubject;
  readonly #settled = new AbortController();
  #outcome: Outcome | null = null;
  #overruled = false;

  constructor(subject: MigrationSubject) {
    this.subject = subject;
  }

  /** What was settled; null while nothing was. */
  get outcome(): Outcome | null {
    return this.#outcome;
  }

  /** Aborts once it is settled. */
  get settled(): AbortSignal {
    return this.#settled.signal;
  }

  /** The target's word; it comes too late where the operator is just being obeyed. */
  answered(outcome: Outcome): void {
    if (!this.#overruled) this.#settle(outcome);
  }

  /** The operator's word, once `record` has made it durable. Throws wrong-state where the target was first, and what `record` does. */
  async overrule(outcome: Outcome, record: () => Promise<void>): Promise<void> {
    if (this.#outcome ?? this.#overruled) {
      const { id } = this.subject;
      throw new MigrationError('wrong-state', `the outcome of migration ${id} is being settled already`);
    }
    this.#overruled = true;
    try {
      await record();
    } catch (error) {
      this.#overruled = false;
      throw error;
    }
    this.#settle(outcome);
  }

  #settle(outcome: Outcome): void {
    this.#outcome ??= outcome;
    this.#settled.abort();
  }
}

/**
 * Asks the target until it has an answer, or the question is settled otherwise. `onUnanswered` is called after unknownAfterMs
 * without one, or when `dispose` aborts; after the latter nothing more is asked, and this rejects with the signal's reason.
 */
export async function askUntilAnswered(
  { subject, askOutcome, timeouts, onWarning, onQuestion }: QuestionContext,
  timers: Pick<Timers, 'after'>,
  dispose: AbortSignal,
  onUnanswered: () => void,
): Promise<Outcome> {
  const question = new OutcomeQuestion(subject);
  onQuestion?.(question);
  const over = AbortSignal.any([dispose, question.settled]);
  // By a timer of its own: a question may hang for as long as it likes.
  const cancelUnanswered = timers.after(timeouts.unknownAfterMs, onUnanswered);
  let lastFailure = '';
  try {
    while (!over.aborted) {
      try {
        const outcome = await askOnce();
        if (outcome !== 'pending') question.answered(outcome);
      } catch (thrown) {
        if (over.aborted) break;
        const { message } = toMigrationError(thrown);
        if (message !== lastFailure) onWarning('the outcome could not be asked for', thrown);
        lastFailure = message;
      }
      await delay(timers, timeouts.askEveryMs, over);
    }
    if (question.outcome) return question.outcome;
    onUnanswered();
    throw toMigrationError(dispose.reason, 'shutting-down');
  } finally {
    cancelUnanswered();
  }

  async function askOnce(): Promise<'pending' | Outcome> {
    const attempt = new AbortController();
    const signal = AbortSignal.any([over, attempt.signal]);
    const cancelTimeout = timers.after(timeouts.askMs, () =>
      attempt.abort(
        new MigrationError('timeout', `node ${subject.to} did not answer within ${timeouts.askMs} ms`),
      ),
    );
    try {
      return await Promise.race([askOutcome(signal), rejected(signal)]);
    } finally {
      cancelTimeout();
    }
  }
}

/** Rejects with the signal's reason once it aborts. */
function rejected(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = () => reject(toMigrationError(signal.reason));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}
