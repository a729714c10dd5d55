import { MigrationError, refusalError, toMigrationError } from '../../shared/errors.js';
import type { TargetMessage } from '../../shared/protocol/messages.js';
import { delay, systemTimers } from '../../shared/timers.js';
import type { Guest, IncomingGuest } from '../guest/guest.js';
import type { JournalEntry } from '../journal/ownership-journal.js';
import { errorMessage, messageText } from '../link/error-message.js';
import { ArrivingGuest } from './arriving-guest.js';
import type { TargetContext } from './target-context.js';
import type {
  Finalize,
  Prepare,
  TargetEffect,
  TargetEvent,
  TargetState,
  VerifyRequest,
} from './target-state.js';

/** Between two attempts to make certain that a commit which could not be recorded is not on the disk. ms */
const MAKE_CERTAIN_EVERY_MS = 1_000;

export interface TargetStepsContext extends TargetContext {
  readonly state: () => TargetState;
  /** What happens beside the step that is under way. */
  readonly dispatch: (event: TargetEvent) => void;
  /** What fails beside it. */
  readonly fail: (error: MigrationError) => void;
  /** All page streams have ended that round. */
  readonly onRoundOver: (round: number) => void;
  /** The error for what must not come in this state. */
  readonly unexpected: (what: string) => MigrationError;
  /** Nothing is left to do, whatever the state says. */
  readonly settle: () => void;
  /** Aborts when the migration is given up: what is only needed for it is not begun. */
  readonly ending: AbortSignal;
}

/** The effects of target-state.ts, one method each: what is done with the guest, the link and the journal. */
export class TargetSteps {
  readonly #context: TargetStepsContext;
  #prepare: Prepare | null = null;
  #finalize: Finalize | null = null;
  /** Set once the guest is created; its machine may still be starting. */
  #incoming: IncomingGuest | null = null;
  #arriving: ArrivingGuest | null = null;
  #unwatchGuest: () => void = () => undefined;

  constructor(context: TargetStepsContext) {
    this.#context = context;
  }

  /** What the page streams have delivered, as it counts for the progress of the source. */
  get pageBytes(): number {
    return this.#arriving?.pageBytes ?? 0;
  }

  /** Rounds that all page streams have ended. */
  get roundsOver(): number {
    return this.#arriving?.roundsOver ?? 0;
  }

  /** A message that can't be sent needs no care: the end of the connection is an event of its own. */
  send(message: TargetMessage): void {
    this.#context.control.send(message).catch(() => undefined);
  }

  /** Returns what came of the effect, unless that is told later or means nothing. Throws what fails. */
  async carryOut(effect: TargetEffect): Promise<TargetEvent | null> {
    switch (effect.do) {
      case 'prepare':
        return await this.#create(effect.message);
      case 'acknowledge-round':
        this.send({ type: 'round-ack', round: effect.round });
        return null;
      case 'send-hashes':
        this.#sendHashes(effect.message);
        return null;
      case 'load':
        return await this.#load(effect.message);
      case 'send-ready':
        this.send({ type: 'ready', loadMs: effect.loadMs });
        return null;
      case 'record-commit':
        return await this.#recordCommit();
      case 'resume':
        return await this.#resume();
      case 'send-running':
        this.#sendRunning(effect);
        this.#letGo();
        this.#context.settle();
        return null;
      case 'discard':
        return await this.#discard(effect);
    }
  }

  async #create(message: Prepare): Promise<TargetEvent | null> {
    const { host, journal, openStreams, inTurn, ending, state, unexpected, onRoundOver, fail } =
      this.#context;
    this.#prepare = message;
    const look = () => host.preflight(message);
    const found = message.dryRun ? await inTurn(ending, look) : await look();
    const findings = found.map((finding) => ({
      ...finding,
      message: messageText(finding.message),
    }));
    if (message.dryRun) {
      this.send({ type: 'prepared', transport: 'websocket', token: '', findings });
      return { type: 'reported' };
    }
    // The dry run before the queue was long ago.
    const refusal = findings.find(({ level }) => level === 'refusal');
    if (refusal) throw refusalError(refusal);
    const incoming = await host.create(message);
    this.#incoming = incoming;
    incoming.machine.then(
      (guest) => this.#watch(guest),
      (error: unknown) => fail(toMigrationError(error, 'guest-failed')),
    );
    await journal.stage(this.#decision('committed'));
    const arriving = new ArrivingGuest(incoming, {
      ...{ prepare: message, state, unexpected, onRoundOver, fail },
      stageImage: (image) => host.stageImage(message.definition.name, image),
    });
    this.#arriving = arriving;
    if (state().name !== 'preparing') return null;
    // Pages may follow as soon as the source has the token, so the state must change before.
    this.#context.dispatch({ type: 'prepared' });
    const { transport, token, finding } = await openStreams({
      streams: message.streams,
      pageToken: message.pageToken,
      verify: message.verify,
      memory: arriving.memory!,
      sink: arriving.sink,
      roundEndElsewhere: (...ended) => arriving.roundEndElsewhere(...ended),
      heardElsewhere: (bytes) => arriving.heardElsewhere(bytes),
      signal: ending,
    });
    if (finding) findings.push(finding);
    this.send({ type: 'prepared', transport, token, findings });
    return null;
  }

  #watch(guest: Guest): void {
    const look = () => {
      // Once it is committed the node watches it as one of its own.
      if (guest.failure) this.#context.fail(toMigrationError(guest.failure, 'guest-failed'));
    };
    this.#unwatchGuest = guest.onChange(look);
    look();
  }

  /** The machine of the guest, once it has started. */
  get #machine(): Promise<Guest> {
    if (!this.#incoming) throw new MigrationError('internal', 'there is no incoming guest');
    return this.#incoming.machine;
  }

  #sendRunning({ resumeMs, resumedAt, failure }: Extract<TargetEffect, { do: 'send-running' }>): void {
    this.send({ type: 'running', resumeMs, resumedAt, failure });
  }

  /** The guest is the node's own, which watches it from here on. */
  #letGo(): void {
    this.#unwatchGuest();
    this.#incoming = null;
    this.#arriving?.letGo();
  }

  #sendHashes({ region, firstPage, pageCount }: VerifyRequest): void {
    const { state, unexpected } = this.#context;
    const memory = this.#arriving?.memory;
    // Of a guest that runs only what was noted on arrival can be told; its memory moves on, and may be gone by then.
    const frozen = state().name === 'receiving' || this.#prepare?.verify === 'after';
    if (!memory || !frozen) throw unexpected('verify-request');
    const hashes = memory.hashes({ region, firstPage, pageCount });
    this.send({ type: 'verify-hashes', region, firstPage, hashes });
  }

  async #load(message: Finalize): Promise<TargetEvent> {
    const { now, sealStreams } = this.#context;
    const startedAt = now();
    this.#finalize = message;
    const sealed = sealStreams();
    // Awaited before it may run: what is loaded meanwhile does not.
    sealed.catch(() => undefined);
    await this.#arriving!.complete(message);
    await sealed;
    return { type: 'loaded', loadMs: now() - startedAt };
  }

  async #recordCommit(): Promise<TargetEvent | null> {
    try {
      const decision = await this.#context.journal.decide(this.#decision('committed'));
      return decision === 'committed' ? { type: 'commit-recorded' } : { type: 'commit-refused' };
    } catch (failure) {
      const error = toMigrationError(failure);
      if (await this.#makeCertain(error)) return { type: 'record-failed', error };
      // The record that the next run finds decides, and the copy stays for it.
      this.#context.settle();
      return null;
    }
  }

  /**
   * Resolves once no record of the commit can turn up, however long that takes: the source would run the guest on, and after
   * a restart this node would, too. False where the agent ends before.
   */
  async #makeCertain(failure: MigrationError): Promise<boolean> {
    const { migration, journal, agentEnds, timers = systemTimers, onWarning } = this.#context;
    if (journal.uncertain(migration)) {
      const text =
        'whether the commit is on record is uncertain: the source gets no answer, and its copy stays paused, until the disk ' +
        'is mended (it is tried again each second; restart the agent where mending takes that)';
      onWarning(text, failure);
    }
    while (journal.uncertain(migration)) {
      await delay(timers, MAKE_CERTAIN_EVERY_MS, agentEnds);
      if (agentEnds.aborted) return false;
      // What fails of it was said above.
      await journal.decide(this.#decision('aborted')).catch(() => undefined);
    }
    return true;
  }

  /** The guest is ours from here on: failures are reported, never undone. */
  async #resume(): Promise<TargetEvent> {
    const { host, now, onWarning } = this.#context;
    const startedAt = now();
    const guest = await this.#machine;
    let failure: string | null = null;
    let resumedAt: number | null = null;
    try {
      // First of all: it stands still for as long.
      const resuming = this.#finalize!.resume ? guest.resume() : Promise.resolve(null);
      resuming.catch(() => undefined);
      host.adopt(guest);
      resumedAt = await resuming;
    } catch (error) {
      onWarning('the guest is committed to this node, but did not start: it is paused here', error);
      failure = messageText(toMigrationError(error).message);
    }
    return { type: 'resumed', resumeMs: now() - startedAt, resumedAt, failure };
  }

  async #discard({ error, record, answer }: Extract<TargetEffect, { do: 'discard' }>): Promise<TargetEvent> {
    const { host, closeStreams, onWarning } = this.#context;
    try {
      if (record) await this.#context.journal.decide(this.#decision('aborted'));
    } catch (failure) {
      // Without a record the answer is the same: what is not on record as committed is aborted.
      onWarning('that the migration was aborted could not be recorded', failure);
    }
    // Before the streams: their end alone would leave the source to guess why.
    if (answer === 'aborted') this.send({ type: 'aborted' });
    else this.send(errorMessage(error));
    closeStreams();
    this.#arriving?.giveUp(error);
    try {
      if (this.#incoming) await this.#context.journal.unstage(this.#context.migration);
    } catch (failure) {
      onWarning('the journal entry that was staged could not be removed', failure);
    }
    try {
      if (this.#incoming) await host.discard(this.#prepare!.definition.name);
    } catch (failure) {
      onWarning('the incoming copy of the guest could not be cleared away', failure);
    }
    return { type: 'aborted' };
  }

  #decision(decision: 'committed' | 'aborted'): JournalEntry {
    const { migration, peer } = this.#context;
    return { migration, decision, vm: this.#prepare!.definition.name, peer, at: new Date().toISOString() };
  }
}
