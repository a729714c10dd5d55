import type { OutcomeReport, Resolution, ResolveRequest } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestStore } from '../guest/guest-store.js';
import type { JournalEntry } from '../journal/ownership-journal.js';
import { knownAddress, type OpenQuestions, type OpenQuestionsContext } from './open-questions.js';
import type { Outcome } from './outcome-question.js';

export interface ResolveContext extends OpenQuestionsContext {
  readonly questions: OpenQuestions;
  /** What its operator sees of a VM. */
  readonly store: Pick<GuestStore, 'get' | 'list'>;
}

type Answer = { readonly outcome: 'pending' | Outcome } | { readonly failure: MigrationError };

/** What is known of the outcome that a VM is held for, what either decision risks, and what to run. Throws not-found. */
export async function reportOutcome(context: ResolveContext, vm: string): Promise<OutcomeReport> {
  const open = openOutcome(context, vm);
  if (!open) {
    context.store.get(vm);
    return { vm, open: null };
  }
  const { node } = context;
  const { migration, peer, at, decision } = open;
  const answer = await askNow(context, open);
  const known =
    'failure' in answer
      ? `node ${peer} can't be asked: ${answer.failure.message}`
      : said(peer, answer.outcome);
  const takenBack = decision === 'taken-back';
  const choices = takenBack ? [node] : [node, peer];
  return {
    vm,
    open: {
      ...{ migration, from: node, to: peer, since: at, takenBack, known },
      choices: choices.map((owner) => ({
        owner,
        risk: riskOf(open, owner),
        command: `vmferry vm resolve ${vm} --owner ${owner}${takenBack ? '' : ' --force'}`,
      })),
    },
  };
}

/** What is risked where `owner` gets the VM without the target's word. */
function riskOf({ vm, peer, decision }: JournalEntry, owner: string): string {
  if (decision === 'taken-back') {
    return `if the copy on node ${peer} is not ended, two run and ruin the disks that they share`;
  }
  if (owner === peer) {
    return `if node ${peer} has not committed, what VM ${vm} has in memory is lost, and its definition here: look on ${peer} first`;
  }
  return (
    `if node ${peer} has committed and its copy runs or is started, two run and ruin the disks that they share: ` +
    `first make sure that ${peer} is off (fence it), or that VM ${vm} does not run there and is not defined there`
  );
}

/**
 * Settles the outcome that a VM is held for. The target is asked once more; its word counts, and only where it can't be asked does
 * the operator's, with `force`. Throws wrong-state where nothing is open or the answer says otherwise, outcome-unknown without `force`.
 */
export async function resolveOutcome(
  context: ResolveContext,
  vm: string,
  { owner, force }: ResolveRequest,
): Promise<Resolution> {
  const { node, store } = context;
  const open = openOutcome(context, vm);
  if (!open) {
    const { status } = store.get(vm);
    throw new MigrationError(
      'wrong-state',
      `nothing is to be resolved: VM ${vm} is ${status} on node ${node}`,
    );
  }
  const { peer } = open;
  if (owner !== node && owner !== peer) {
    const text = `node ${owner} has no part in the outcome of VM ${vm}: its owner is ${node} or ${peer}`;
    throw new MigrationError('invalid-request', text);
  }
  if (open.decision === 'taken-back') await confirmTakenBack(context, open, owner, force);
  else await settle(context, open, owner, force);
  const here = store.list().find(({ name }) => name === vm) ?? null;
  return { vm, owner: here ? node : peer, guest: here };
}

async function settle(
  context: ResolveContext,
  open: JournalEntry,
  owner: string,
  force: boolean,
): Promise<void> {
  const { node, store, journal, questions, farewells, logger } = context;
  const { migration, vm, peer } = open;
  const wanted = owner === node ? 'aborted' : 'committed';
  const question = questions.of(vm);
  const closed = questions.closed(vm);
  const answer = await askNow(context, open);
  if ('outcome' in answer && answer.outcome === 'pending') {
    throw new MigrationError(
      'wrong-state',
      `node ${peer} is at work on migration ${migration} and will know its outcome soon: ask again, or end the agent there first`,
    );
  }
  if ('outcome' in answer) {
    const { outcome } = answer as { outcome: Outcome };
    question?.answered(outcome);
    await closed;
    // Nobody asks any more: what was to be recorded then could not be.
    if (!question && outcome === 'aborted') await journal.forget(migration);
    // And nothing of it is left here.
    if (!question && outcome === 'committed' && !store.list().some(({ name }) => name === vm)) {
      await journal.supersede(migration, 'released');
      farewells.start();
    }
    if (outcome === wanted) return;
    throw new MigrationError('wrong-state', `${said(peer, outcome)}: VM ${vm} was given to it accordingly`);
  }
  if (!force) {
    throw new MigrationError(
      'outcome-unknown',
      `node ${peer} can't be asked (${answer.failure.message}). The risk: ${riskOf(open, owner)}. If you are sure, say --force`,
    );
  }
  if (!question)
    throw new MigrationError('wrong-state', `the outcome of migration ${migration} was just settled`);
  await question.overrule(wanted, async () => {
    if (wanted === 'aborted') await journal.supersede(migration, 'taken-back');
  });
  logger.warn({ migration, vm, owner }, 'the operator has settled an unknown outcome by force');
  await closed;
  const entry = journal.get(migration);
  if (entry?.decision === 'taken-back') void questions.watchTakenBack(entry);
}

/** The copy at the target is said to be gone: its record, and that of the operator's decision, may go. */
async function confirmTakenBack(
  context: ResolveContext,
  { migration, vm, peer }: JournalEntry,
  owner: string,
  force: boolean,
): Promise<void> {
  const { node, journal, dialer, guests, address, signal } = context;
  if (owner !== node) {
    throw new MigrationError(
      'wrong-state',
      `VM ${vm} was taken back and is node ${node}'s: to have it on ${peer}, stop one of them there and move the other`,
    );
  }
  try {
    await dialer.sayGoodbye(knownAddress(address, peer), migration, signal);
  } catch (thrown) {
    const { message } = toMigrationError(thrown);
    const text = `node ${peer} can't be told to forget migration ${migration} (${message}). If it is gone for good, say --force`;
    if (!force) throw new MigrationError('outcome-unknown', text, { cause: thrown });
  }
  await journal.forget(migration);
  guests.warn(vm, null);
}

function openOutcome({ journal }: ResolveContext, vm: string): JournalEntry | undefined {
  const entries = journal.entries().filter((entry) => entry.vm === vm);
  // One that was taken back may have been migrated again: what it is held for comes first.
  return (
    entries.find(({ decision }) => decision === 'commit-sent') ??
    entries.find(({ decision }) => decision === 'taken-back')
  );
}

async function askNow(
  { dialer, address, signal }: ResolveContext,
  { migration, peer }: JournalEntry,
): Promise<Answer> {
  try {
    return { outcome: await dialer.askOutcome(knownAddress(address, peer), migration, signal) };
  } catch (thrown) {
    return { failure: toMigrationError(thrown) };
  }
}

function said(peer: string, outcome: 'pending' | Outcome): string {
  if (outcome === 'pending') return `node ${peer} says that it is still at work on it`;
  return outcome === 'committed'
    ? `node ${peer} says that it has committed: the VM is its own`
    : `node ${peer} says that it has not committed, and will not`;
}
