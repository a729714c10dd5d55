import type { Logger } from 'pino';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { systemTimers } from '../../shared/timers.js';
import type { OutgoingGuests } from '../guest/outgoing-guests.js';
import type { JournalEntry, OwnershipJournal } from '../journal/ownership-journal.js';
import type { NodeAddress } from '../node-address.js';
import type { Farewells } from './farewells.js';
import { askUntilAnswered, type Outcome, type OutcomeQuestion } from './outcome-question.js';
import type { PeerDialer } from './peer-dialer.js';
import { SOURCE_TIMEOUTS } from './source-context.js';

export interface OpenQuestionsContext {
  readonly node: string;
  readonly guests: OutgoingGuests;
  readonly journal: OwnershipJournal;
  readonly dialer: Pick<PeerDialer, 'askOutcome' | 'sayGoodbye'>;
  readonly farewells: Farewells;
  readonly logger: Logger;
  /** Where the agent of a node is; undefined if the configuration does not say. */
  readonly address: (node: string) => NodeAddress | undefined;
  /** Ends the asking, for the end of the agent. */
  readonly signal: AbortSignal;
}

/**
 * Commits that an earlier run of this agent sent and never heard the outcome of: their VMs may be running at the target.
 * Holds those VMs, so that nobody starts them here. To be called before anybody can ask for that.
 */
export function holdOpenQuestions(journal: OwnershipJournal, guests: OutgoingGuests): void {
  for (const { vm, migration, decision } of journal.entries()) {
    if (decision === 'commit-sent') guests.markUnknown(vm, migration);
  }
}

interface Open {
  readonly question: OutcomeQuestion;
  readonly closed: Promise<void>;
  close(): void;
}

/** Outcomes that this node waits for, of this run's migrations and of those of earlier ones. */
export class OpenQuestions {
  readonly #context: OpenQuestionsContext;
  /** By VM. */
  readonly #open = new Map<string, Open>();

  constructor(context: OpenQuestionsContext) {
    this.#context = context;
  }

  /** Asks for the outcomes of an earlier run's migrations until it is known whose their VMs are. */
  start(): void {
    const entries = this.#context.journal.entries();
    const held = entries.filter(({ decision }) => decision === 'commit-sent');
    for (const vm of new Set(held.map((entry) => entry.vm))) {
      void this.#askAll(held.filter((entry) => entry.vm === vm));
    }
    for (const entry of entries) if (entry.decision === 'taken-back') void this.watchTakenBack(entry);
  }

  /**
   * All commits of one VM, one after the other: one whose outcome was known may still be on record, since that could not be removed, and
   * says nothing of a later one. The VM goes on here only after the last.
   */
  async #askAll(entries: readonly JournalEntry[]): Promise<void> {
    for (const [index, entry] of entries.entries()) {
      if (this.#context.signal.aborted) return;
      await this.#ask(entry, entries[index + 1]);
    }
  }

  of(vm: string): OutcomeQuestion | undefined {
    return this.#open.get(vm)?.question;
  }

  add(question: OutcomeQuestion): void {
    let close!: () => void;
    const closed = new Promise<void>((resolve) => (close = resolve));
    this.#open.set(question.subject.vm, { question, closed, close });
  }

  /** What came of the question is done: the VM runs on here, or nothing of it is left. */
  close(vm: string): void {
    this.#open.get(vm)?.close();
    this.#open.delete(vm);
  }

  /** Resolves once the question about that VM is closed. */
  async closed(vm: string): Promise<void> {
    await this.#open.get(vm)?.closed;
  }

  /** Whether the target has committed a guest that the operator has taken back: then there are two. */
  async watchTakenBack(entry: JournalEntry): Promise<void> {
    const { guests, journal, node } = this.#context;
    const { migration, vm, peer } = entry;
    const logger = this.#logger(entry);
    try {
      // A question of its own, about which nobody can be asked again: it was answered by the operator.
      const outcome = await this.#answer(entry, logger, () => undefined);
      if (outcome === 'aborted') {
        await journal.forget(migration);
        logger.info(`node ${peer} has not committed VM ${vm}, which was taken back: all is well`);
        return;
      }
      const text =
        `VM ${vm} was taken back here, but node ${peer} had committed it: there are two. End the one that is not wanted, ` +
        `'vmferry vm stop ${vm}' and 'vmferry vm undefine ${vm}' on node ${peer}, then 'vmferry vm resolve ${vm} --owner ${node}' here`;
      guests.warn(vm, text);
      logger.error(text);
    } catch (error) {
      this.#couldNot(logger, error);
    }
  }

  async #ask(entry: JournalEntry, next: JournalEntry | undefined): Promise<void> {
    const { guests, journal, farewells, address } = this.#context;
    const { migration, vm, peer } = entry;
    const logger = this.#logger(entry);
    logger.warn(
      `VM ${vm} may be running on node ${peer}: asking, and holding it here until there is an answer`,
    );
    try {
      const outcome = await this.#answer(entry, logger, (question) => this.add(question));
      if (outcome === 'committed') {
        const target = address(peer) ?? { node: peer, url: '' };
        // What may still be running here must not be taken for this node's own by the next run of the agent.
        if (await guests.end(vm, target)) await journal.supersede(migration, 'released');
      } else {
        await this.#goOn(entry, next);
      }
      farewells.start();
      logger.info({ outcome }, 'the outcome of an earlier migration is known now');
    } catch (error) {
      this.#couldNot(logger, error);
    } finally {
      this.close(vm);
    }
  }

  /**
   * The VM is this node's, unless its `next` commit took it away; its migration has it until it is again what its operator wanted: nobody
   * is to stop it in between.
   */
  async #goOn({ migration, vm }: JournalEntry, next: JournalEntry | undefined): Promise<void> {
    const { guests, journal } = this.#context;
    if (next) guests.markUnknown(vm, next.migration);
    else guests.markOwn(vm);
    try {
      if (!next) await guests.settle(vm);
      if (journal.get(migration)?.decision === 'commit-sent') await journal.forget(migration);
    } finally {
      if (!next) await guests.end(vm, null);
    }
  }

  #answer(
    { migration, vm, peer }: JournalEntry,
    logger: Logger,
    onQuestion: (question: OutcomeQuestion) => void,
  ): Promise<Outcome> {
    const { node, dialer, address, signal } = this.#context;
    return askUntilAnswered(
      {
        subject: { id: migration, vm, from: node, to: peer },
        askOutcome: async (asking) => await dialer.askOutcome(knownAddress(address, peer), migration, asking),
        timeouts: SOURCE_TIMEOUTS,
        onWarning: (message, error) => logger.warn({ err: error }, message),
        onQuestion,
      },
      systemTimers,
      signal,
      () =>
        logger.error(
          `node ${peer} does not answer: bring it or the link back, or see 'vmferry vm resolve ${vm}'`,
        ),
    );
  }

  #couldNot(logger: Logger, error: unknown): void {
    if (this.#context.signal.aborted) return;
    logger.error({ error: toMigrationError(error).toJSON() }, 'an open outcome could not be settled');
  }

  #logger({ migration, vm, peer }: JournalEntry): Logger {
    const { logger, node } = this.#context;
    return logger.child({ migration, vm, pair: `${node}->${peer}`, role: 'source' });
  }
}

/** Throws unknown-node. */
export function knownAddress(address: (node: string) => NodeAddress | undefined, node: string): NodeAddress {
  const known = address(node);
  if (known) return known;
  throw new MigrationError(
    'unknown-node',
    `'peers' does not name node ${node}: add it to the configuration and restart this agent`,
  );
}
