import type { Logger } from 'pino';
import { toMigrationError } from '../../shared/errors.js';
import { systemTimers } from '../../shared/timers.js';
import type { GuestStore, NodeAddress } from '../guest/guest-store.js';
import type { JournalEntry, OwnershipJournal } from '../journal/ownership-journal.js';
import { askUntilAnswered } from './outcome-question.js';
import type { PeerDialer } from './peer-dialer.js';
import { SOURCE_TIMEOUTS } from './source-context.js';

export interface OpenQuestionsContext {
  readonly node: string;
  readonly guests: GuestStore;
  readonly journal: OwnershipJournal;
  readonly dialer: PeerDialer;
  readonly logger: Logger;
  /** Where the agent of a node is; undefined if the configuration does not say. */
  address(node: string): NodeAddress | undefined;
  /** Ends the asking, for the end of the agent. */
  readonly signal: AbortSignal;
}

/**
 * Commits that an earlier run of this agent sent and never heard the outcome of: their VMs may be running at the target.
 * Holds those VMs, so that nobody starts them here. To be called before anybody can ask for that.
 */
export function holdOpenQuestions(journal: OwnershipJournal, guests: GuestStore): void {
  for (const { vm, migration } of openQuestions(journal)) guests.markUnknown(vm, migration);
}

/** Asks until it is known whose those VMs are. */
export function askOpenQuestions(context: OpenQuestionsContext): void {
  for (const entry of openQuestions(context.journal)) void settle(context, entry);
}

function openQuestions(journal: OwnershipJournal): JournalEntry[] {
  return journal.entries().filter(({ decision }) => decision === 'commit-sent');
}

async function settle(context: OpenQuestionsContext, entry: JournalEntry): Promise<void> {
  const { guests, journal, dialer, node, signal } = context;
  const { migration, vm, peer } = entry;
  const logger = context.logger.child({ migration, vm, pair: `${node}->${peer}`, role: 'source' });
  const target = context.address(peer);
  if (!target) {
    logger.error(
      `VM ${vm} may be running on node ${peer}, which 'peers' does not name: add it and restart this agent`,
    );
    return;
  }
  logger.warn(
    `VM ${vm} may be running on node ${peer}: asking, and holding it here until there is an answer`,
  );
  try {
    const outcome = await askUntilAnswered(
      {
        subject: { id: migration, vm, from: node, to: peer },
        askOutcome: (asking) => dialer.askOutcome(target, migration, asking),
        timeouts: SOURCE_TIMEOUTS,
        onWarning: (message, error) => logger.warn({ err: error }, message),
      },
      systemTimers,
      signal,
      () => logger.error(`node ${peer} does not answer: VM ${vm} stays held; bring ${peer} or the link back`),
    );
    // What may still be running here must not be taken for this node's own by the next run of the agent.
    if (!(await guests.endOutgoing(vm, outcome === 'committed' ? target : null))) return;
    await journal.forget(migration);
    if (outcome === 'aborted') await guests.settle(vm);
    logger.info({ outcome }, 'the outcome of an earlier migration is known now');
  } catch (error) {
    if (!signal.aborted)
      logger.error({ error: toMigrationError(error).toJSON() }, 'an open outcome could not be settled');
  }
}
