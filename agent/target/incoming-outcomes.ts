import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { TargetMessage } from '../../shared/protocol/messages.js';
import type { IncomingGuests } from '../guest/incoming-guests.js';
import type { JournalEntry, OwnershipJournal } from '../journal/ownership-journal.js';
import { errorMessage } from '../link/error-message.js';
import { AbortedAnswers } from './aborted-answers.js';
import type { TargetSession } from './target-session.js';

interface OutcomesContext {
  readonly node: string;
  readonly guests: Pick<IncomingGuests, 'kept'>;
  readonly journal: OwnershipJournal;
}

/** A migration that is under way, and where from. */
interface UnderWay {
  readonly from: string;
  readonly session: TargetSession;
}

/** What this node answers its sources about how migrations to it ended, and for how long it remembers that. */
export class IncomingOutcomes {
  readonly #context: OutcomesContext;
  readonly #active: (id: string) => UnderWay | undefined;
  readonly #abortedAnswers = new AbortedAnswers();

  /** `active`: the migration of that id, while it has a guest here that is not committed yet. */
  constructor(context: OutcomesContext, active: (id: string) => UnderWay | undefined) {
    this.#context = context;
    this.#active = active;
  }

  /** Whether a migration has an outcome: none may begin under its id. */
  known(id: string, from: string): boolean {
    return this.#context.journal.get(id) !== undefined || this.#abortedAnswers.has(from, id);
  }

  /**
   * What became of a migration. One that is neither on record, for certain, nor under way never will be committed here. Throws
   * not-found for one of another source.
   */
  outcome(id: string, from: string): 'pending' | 'committed' | 'aborted' {
    const { journal } = this.#context;
    const known = journal.get(id);
    const written = known ?? journal.uncertain(id);
    const active = this.#active(id);
    if ((written?.peer ?? active?.from ?? from) !== from || (written && !isOfTarget(written))) {
      throw this.#notFrom(id, from);
    }
    if (known) return known.decision === 'committed' ? 'committed' : 'aborted';
    if (written ?? active) return 'pending';
    this.#abortedAnswers.remember(from, id);
    return 'aborted';
  }

  /** The source will not ask any more. What says no to it is an error, and the record stays. */
  async settled(id: string, from: string): Promise<TargetMessage> {
    const { journal, guests, node } = this.#context;
    try {
      await this.#active(id)?.session.settled;
      if (journal.uncertain(id)) {
        const text = `whether node ${node} has recorded the commit of migration ${id} is not certain yet: its disk has failed`;
        throw new MigrationError('wrong-state', text);
      }
      const known = journal.get(id);
      if (known) {
        if (known.peer !== from || !isOfTarget(known)) throw this.#notFrom(id, from);
        // A later run of this agent must know the guest without the record.
        if (known.decision === 'committed' && !(await guests.kept(known.vm))) {
          const text = `VM ${known.vm} is not on the disk of node ${node} yet: the record of its commit is still needed`;
          throw new MigrationError('wrong-state', text);
        }
        await journal.forget(id);
      }
      return { type: 'forgotten' };
    } catch (error) {
      return errorMessage(toMigrationError(error));
    }
  }

  /** The source knows that it was not committed. */
  async forgetAborted(id: string, from: string, session: TargetSession, logger: Logger): Promise<void> {
    const { journal } = this.#context;
    await session.settled;
    const known = journal.get(id);
    if (known?.decision !== 'aborted' || known.peer !== from) return;
    try {
      await journal.forget(id);
    } catch (error) {
      logger.warn({ err: error }, 'the journal entry could not be removed');
    }
  }

  #notFrom(id: string, from: string): MigrationError {
    return new MigrationError(
      'not-found',
      `migration ${id} did not come to node ${this.#context.node} from ${from}`,
    );
  }
}

/** Others are about guests that left: only this node itself asks for those. */
function isOfTarget({ decision }: JournalEntry): boolean {
  return decision === 'committed' || decision === 'aborted';
}
