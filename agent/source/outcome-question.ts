import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { delay, type Timers } from '../../shared/timers.js';
import type { SourceContext } from './source-context.js';

export type Outcome = 'committed' | 'aborted';

type QuestionContext = Pick<SourceContext, 'subject' | 'askOutcome' | 'timeouts' | 'onWarning'>;

/**
 * Asks the target until it has an answer. `onUnanswered` is called after unknownAfterMs without one, or when
 * `dispose` aborts; after the latter nothing more is asked, and this rejects with the signal's reason.
 */
export async function askUntilAnswered(
  { subject, askOutcome, timeouts, onWarning }: QuestionContext,
  timers: Pick<Timers, 'after'>,
  dispose: AbortSignal,
  onUnanswered: () => void,
): Promise<Outcome> {
  // By a timer of its own: a question may hang for as long as it likes.
  const cancelUnanswered = timers.after(timeouts.unknownAfterMs, onUnanswered);
  let lastFailure = '';
  try {
    while (!dispose.aborted) {
      try {
        const outcome = await askOnce();
        if (outcome !== 'pending') return outcome;
      } catch (thrown) {
        const { message } = toMigrationError(thrown);
        if (message !== lastFailure) onWarning('the outcome could not be asked for', thrown);
        lastFailure = message;
      }
      await delay(timers, timeouts.askEveryMs, dispose);
    }
    onUnanswered();
    throw toMigrationError(dispose.reason, 'shutting-down');
  } finally {
    cancelUnanswered();
  }

  async function askOnce(): Promise<'pending' | Outcome> {
    const attempt = new AbortController();
    const signal = AbortSignal.any([dispose, attempt.signal]);
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
