import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { Conversation } from './conversation.js';
import type { MigrationReport } from './migration-report.js';
import type { SourceContext } from './source-context.js';

/** What becomes of the guest here when its migration has been decided: it has moved, or it stays. */

type Context = SourceContext & { readonly conversation: Conversation; readonly report: MigrationReport };

/**
 * The guest runs on the target: it is compared, if that is asked for, and nothing of it is left here. Never fails: that would not bring
 * it back; what goes wrong is a warning, of the comparison in the report as well.
 */
export async function releaseMoved(context: Context, compare: () => Promise<void>): Promise<void> {
  const { guest, options, report, subject, removeMoved, onWarning } = context;
  try {
    await guest.writeLog.stop();
  } catch (error) {
    onWarning('the guest runs on the target, but the write-log here could not be stopped', error);
  }
  try {
    if (options.verify === 'after') await compare();
  } catch (error) {
    const { comparison } = report;
    comparison.failure = new MigrationError(
      'verify-incomplete',
      `VM ${subject.vm} runs on node ${subject.to}, but its memory could not be compared to the end ` +
        `(${comparison.pagesChecked} pages were): ${toMigrationError(error).message}`,
      { cause: error },
    );
    onWarning(comparison.failure.message, error);
  }
  try {
    await guest.destroy();
    if (await removeMoved()) await sayGoodbye(context);
  } catch (error) {
    onWarning('the guest runs on the target, but its copy here could not be cleared away', error);
  }
}

/** Nothing is left here. A target that does not hear of it now is told later: it keeps its record until then. */
async function sayGoodbye({ conversation, journal, subject, timeouts }: Context): Promise<void> {
  try {
    await conversation.ask({ type: 'settled' }, 'forgotten', timeouts.settledMs);
  } catch {
    await journal.supersede(subject.id, 'released');
    return;
  }
  await journal.forget(subject.id);
}

/**
 * The guest stays, and goes on if it was paused for its switchover. The guest first: it must not stand still for what else
 * there is to clear away. Resolves with what is wrong with it, if something is.
 */
export async function keepGuest(context: Context, paused: boolean): Promise<MigrationError | null> {
  const { guest, journal, subject, onWarning } = context;
  let error: MigrationError | null = guest.failure && toMigrationError(guest.failure, 'guest-failed');
  try {
    if (paused && !error) await guest.settle();
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : String(failure);
    error = new MigrationError(
      'guest-failed',
      `VM ${subject.vm} was not moved and is paused here, because it could not be resumed: ${reason}`,
      { cause: failure },
    );
  }
  try {
    await guest.writeLog.stop();
  } catch (failure) {
    onWarning('the write-log could not be stopped', failure);
  }
  try {
    await journal.unstage(subject.id);
    // What was taken back without the target's word is remembered until that has come.
    if (journal.get(subject.id)?.decision !== 'taken-back') await journal.forget(subject.id);
  } catch (failure) {
    onWarning('the journal entry could not be removed', failure);
  }
  return error;
}
