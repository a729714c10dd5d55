import { setTimeout as delay } from 'node:timers/promises';
import type {
  MigrationOptions,
  MigrationPhase,
  MigrationResult,
  Outcome,
  RoundResult,
} from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { countPages, type Run, unionRuns } from '../../shared/page.js';
import type { Guest } from '../guest/guest.js';
import { hashHex } from '../guest/page-hash.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { PageSender, SourceControl } from '../link/link.js';
import { compareMemory } from './compare-memory.js';
import { decide } from './convergence.js';
import { Conversation } from './conversation.js';
import { type CopyFigures, copyRuns } from './copy-runs.js';
import { MigrationReport, type MigrationSubject } from './migration-report.js';
import {
  canCancel,
  type SourceEffect,
  type SourceEvent,
  type SourceState,
  transition,
} from './source-state.js';

/** How long each answer of the target may take before the migration fails (or, after the commit, is asked for). ms */
export interface SourceTimeouts {
  readonly prepareMs: number;
  /** The acknowledgement of a round, after its last byte was handed to the link. */
  readonly roundAckMs: number;
  readonly finalizeMs: number;
  readonly commitMs: number;
  /** Between two questions for the outcome. */
  readonly askEveryMs: number;
  /** Asked in vain for that long, the outcome is reported as unknown, and asked for further on. */
  readonly unknownAfterMs: number;
}

export const SOURCE_TIMEOUTS: SourceTimeouts = {
  prepareMs: 60_000,
  roundAckMs: 60_000,
  finalizeMs: 60_000,
  commitMs: 10_000,
  askEveryMs: 1_000,
  unknownAfterMs: 30_000,
};

/** Progress is reported this often at most. ms */
const PROGRESS_EVERY_MS = 100;

export interface SourceProgress {
  readonly round: number;
  readonly pagesDone: number;
  readonly pagesTotal: number;
  readonly bytesPerSecond: number;
}

export interface SourceContext {
  readonly subject: MigrationSubject;
  readonly guest: Guest;
  /** The program image that belongs to the definition, if it has one. */
  readonly image: Uint8Array | undefined;
  readonly options: MigrationOptions;
  readonly control: SourceControl;
  /** Opens the page streams that `prepared` gave the token for. */
  readonly openPages: (token: string, signal: AbortSignal) => Promise<PageSender>;
  /** Asks the target for the outcome on a connection of its own; rejects if it can't be reached. */
  readonly askOutcome: (signal: AbortSignal) => Promise<'pending' | 'committed' | 'aborted'>;
  readonly journal: OwnershipJournal;
  readonly timeouts: SourceTimeouts;
  /** Monotonic clock. ms */
  readonly now: () => number;
  readonly onState: (state: SourceState, phase: MigrationPhase) => void;
  readonly onProgress: (progress: SourceProgress) => void;
  readonly onRound: (round: RoundResult, thresholdBytes: number) => void;
  /** Something that went wrong and changes nothing about the outcome. */
  readonly onWarning: (message: string, error: unknown) => void;
}

/** One migration, on the side that the guest leaves: carries out the effects of source-state.ts. */
export class SourceSession {
  /** The result, as soon as it can be told: at the end, or when the outcome has been unknown for long. */
  readonly reported: Promise<MigrationResult>;
  /** The result once the outcome is certain. */
  readonly settled: Promise<MigrationResult>;

  readonly #context: SourceContext;
  readonly #conversation: Conversation;
  readonly #report: MigrationReport;
  readonly #startedAt: number;
  readonly #guestRan: boolean;
  /** Ends the step that is under way when the machine leaves it for 'aborting'. */
  readonly #stop = new AbortController();
  /** Ends the asking when the agent shuts down. */
  readonly #dispose = new AbortController();
  #state: SourceState = { name: 'preparing' };
  #step: Promise<void> = Promise.resolve();
  #sender: PageSender | null = null;
  #pending: Run[] = [];
  #copyStartedAt = 0;
  #pausedAt: number | null = null;
  #stateDigest = '';
  #commitRecorded = false;
  #resolveReported!: (result: MigrationResult) => void;
  #resolveSettled!: (result: MigrationResult) => void;

  constructor(context: SourceContext) {
    this.#context = context;
    this.#startedAt = context.now();
    this.#guestRan = context.guest.state !== 'paused';
    this.#report = new MigrationReport(context.subject, context.guest, context.options);
    this.reported = new Promise((resolve) => (this.#resolveReported = resolve));
    this.settled = new Promise((resolve) => (this.#resolveSettled = resolve));
    this.#conversation = new Conversation(context.control, context.subject.to, (error) =>
      this.#dispatch({ type: 'failed', error }),
    );
    context.onState(this.#state, phaseOf(this.#state));
    this.#perform({ do: 'prepare' });
  }

  get state(): SourceState {
    return this.#state;
  }

  /** Cancels. Resolves when the guest runs on here; throws too-late once the commit may have been sent. */
  async cancel(): Promise<void> {
    if (!canCancel(this.#state)) {
      const { id, to } = this.#context.subject;
      throw new MigrationError(
        'too-late',
        `migration ${id} can no longer be cancelled: it is ${this.#state.name}; where it moved, migrate it back from ${to}`,
      );
    }
    this.#dispatch({ type: 'cancel' });
    await this.reported;
  }

  /** Gives up asking for an outcome; the journal still has the question. For the shutdown of the agent. */
  dispose(): void {
    this.#dispose.abort(new MigrationError('shutting-down', 'the agent is shutting down'));
  }

  #dispatch(event: SourceEvent): void {
    const step = transition(this.#state, event);
    if (step === null) return;
    this.#state = step.state;
    this.#context.onState(step.state, phaseOf(step.state));
    if (step.state.name === 'aborting') this.#interrupt(step.state.error);
    if (step.effect) this.#perform(step.effect);
    else this.#end();
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
        event = await this.#carryOut(effect);
      } catch (error) {
        event = { type: 'failed', error: toMigrationError(error) };
      }
      this.#dispatch(event);
    })();
  }

  #carryOut(effect: Exclude<SourceEffect, { do: 'report-unknown' }>): Promise<SourceEvent> {
    switch (effect.do) {
      case 'prepare':
        return this.#prepare();
      case 'copy-round':
        return this.#copyRound(effect.round);
      case 'pause':
        return this.#pause();
      case 'switch-over':
        return this.#switchOver(effect.round);
      case 'verify':
        return this.#verify();
      case 'finalize':
        return this.#finalize();
      case 'record-commit':
        return this.#recordCommit();
      case 'commit':
        return this.#commit();
      case 'ask':
        return this.#ask();
      case 'release':
        return this.#release();
      case 'abort':
        return this.#abort();
    }
  }

  async #prepare(): Promise<SourceEvent> {
    const { guest, image, options, timeouts } = this.#context;
    const { token } = await this.#conversation.ask(
      {
        type: 'prepare',
        definition: guest.definition,
        imageBytes: image?.length ?? 0,
        regions: guest.regions.map(({ name, memory }) => ({ name, bytes: memory.length })),
        streams: options.streams,
        verify: options.verify,
        dryRun: false,
      },
      'prepared',
      timeouts.prepareMs,
    );
    this.#sender = await this.#context.openPages(token, this.#stop.signal);
    this.#sender.onClose((end) => {
      const text = `a page connection to node ${this.#context.subject.to} ended: ${end.reason || `code ${end.code}`}`;
      this.#dispatch({ type: 'failed', error: new MigrationError('link-lost', text) });
    });
    if (image) await this.#sender.sendBlob('program-image', image);
    await guest.writeLog.start();
    return { type: 'prepared' };
  }

  async #copyRound(round: number): Promise<SourceEvent> {
    const { guest, options, now } = this.#context;
    const startedAt = now();
    if (round === 0) {
      this.#copyStartedAt = startedAt;
      this.#pending = await guest.populated();
      this.#report.populatedPages = countPages(this.#pending);
    }
    const { copied, wireBytes } = await this.#copy(round, this.#pending);
    this.#pending = await guest.writeLog.harvest();
    const residualPages = countPages(this.#pending);
    const ms = now() - startedAt;
    this.#report.figures.push({ wireBytes, ms, residualPages });
    const decision = decide(this.#report.figures, now() - this.#copyStartedAt, options);
    this.#report.decision = decision;
    this.#addRound({ round, ...copied, wireBytes, ms, residualPages }, this.#guestRan);
    return { type: 'round-copied', decision };
  }

  async #pause(): Promise<SourceEvent> {
    const { guest, now } = this.#context;
    this.#pausedAt = now();
    await guest.pause();
    this.#report.downtime.pauseMs = now() - this.#pausedAt;
    return { type: 'paused' };
  }

  async #switchOver(round: number): Promise<SourceEvent> {
    const { guest, now, options } = this.#context;
    const startedAt = now();
    const wireBefore = this.#pageSender.wireBytes;
    const [first, state] = await both(this.#sendResidual(round), guest.saveState());
    const residualSentAt = now();
    // Saving the devices may write guest memory; only now is the log final.
    const last = await this.#send(round, await guest.writeLog.harvest());
    await this.#pageSender.sendBlob('device-state', state);
    this.#stateDigest = hashHex(state);
    await this.#barrier(round);
    this.#pending = [];
    const { downtime } = this.#report;
    downtime.residualMs = residualSentAt - startedAt;
    downtime.stateMs = now() - residualSentAt;
    this.#addRound(
      {
        round,
        pages: first.pages + last.pages,
        zeroPages: first.zeroPages + last.zeroPages,
        bytes: first.bytes + last.bytes,
        wireBytes: this.#pageSender.wireBytes - wireBefore,
        ms: now() - startedAt,
        residualPages: 0,
      },
      false,
    );
    return { type: 'state-sent', verify: options.verify === 'strict' };
  }

  async #sendResidual(round: number): Promise<CopyFigures> {
    return await this.#send(
      round,
      unionRuns([...this.#pending, ...(await this.#context.guest.writeLog.harvest())]),
    );
  }

  async #verify(): Promise<SourceEvent> {
    await this.#compare();
    const { mismatches, first, pagesChecked } = this.#report.comparison;
    if (mismatches > 0) {
      throw new MigrationError(
        'verify-mismatch',
        `${mismatches} of ${pagesChecked} pages differ on node ${this.#context.subject.to} (the first: page ` +
          `${first?.page} of ${first?.region}): the write-log or the link is broken; the VM was not moved`,
      );
    }
    return { type: 'verified' };
  }

  async #finalize(): Promise<SourceEvent> {
    const { loadMs } = await this.#conversation.ask(
      {
        type: 'finalize',
        stateDigest: this.#stateDigest,
        pagesSent: this.#report.pagesSent,
        resume: this.#guestRan,
      },
      'ready',
      this.#context.timeouts.finalizeMs,
    );
    this.#report.downtime.loadMs = loadMs;
    return { type: 'ready' };
  }

  async #recordCommit(): Promise<SourceEvent> {
    const { subject, journal } = this.#context;
    await journal.decide({
      migration: subject.id,
      decision: 'commit-sent',
      vm: subject.vm,
      peer: subject.to,
      at: new Date().toISOString(),
    });
    this.#commitRecorded = true;
    return { type: 'commit-recorded' };
  }

  async #commit(): Promise<SourceEvent> {
    await this.#conversation.ask({ type: 'commit' }, 'running', this.#context.timeouts.commitMs);
    this.#measureDowntime();
    return { type: 'running' };
  }

  /** Asks until there is an answer; after a while says that there is none yet, and asks on. */
  async #ask(): Promise<SourceEvent> {
    const { askOutcome, timeouts, now, onWarning } = this.#context;
    const signal = this.#dispose.signal;
    const since = now();
    for (;;) {
      try {
        const outcome = await askOutcome(signal);
        if (outcome !== 'pending') {
          if (outcome === 'committed') this.#measureDowntime();
          return { type: 'answered', outcome };
        }
      } catch (error) {
        onWarning('the outcome could not be asked for', error);
      }
      if (signal.aborted || now() - since >= timeouts.unknownAfterMs) this.#dispatch({ type: 'unanswered' });
      await delay(timeouts.askEveryMs, undefined, { signal });
    }
  }

  async #release(): Promise<SourceEvent> {
    const { guest, journal, options, subject, onWarning } = this.#context;
    try {
      await guest.writeLog.stop();
      if (options.verify === 'after') await this.#compare();
    } catch (error) {
      onWarning('the guest runs on the target, but its memory could not be compared to the end', error);
    }
    try {
      await guest.destroy();
      await journal.forget(subject.id);
    } catch (error) {
      onWarning('the guest runs on the target, but its copy here could not be cleared away', error);
    }
    this.#sender?.close();
    return { type: 'released' };
  }

  /** Ends the step that is under way, and lets the target know at once. */
  #interrupt(error: MigrationError): void {
    const { control } = this.#context;
    this.#stop.abort(error);
    this.#conversation.end(error);
    // If this can't be sent, the target finds out by the end of the connection.
    control
      .send({ type: 'abort', code: error.code, message: error.message.slice(0, 1000) })
      .catch(() => undefined);
    this.#sender?.close();
  }

  async #abort(): Promise<SourceEvent> {
    const { guest, journal, subject, onWarning } = this.#context;
    try {
      await guest.writeLog.stop();
    } catch (failure) {
      onWarning('the write-log could not be stopped', failure);
    }
    try {
      if (this.#guestRan && this.#pausedAt !== null) await guest.resume();
    } catch (failure) {
      onWarning('the guest could not be resumed here', failure);
    }
    try {
      if (this.#commitRecorded) await journal.forget(subject.id);
    } catch (failure) {
      onWarning('the journal entry could not be removed', failure);
    }
    return { type: 'aborted' };
  }

  #end(): void {
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
    const { state } = this;
    this.#report.wireBytes = this.#sender?.wireBytes ?? 0;
    const { comparison } = this.#report;
    const error =
      'error' in state
        ? outcome === 'unknown'
          ? unknownOutcome(this.#context.subject, state.error)
          : state.error
        : comparison.mismatches > 0
          ? new MigrationError(
              'verify-mismatch',
              `${comparison.mismatches} of ${comparison.pagesChecked} pages were not the same on both nodes when the VM ` +
                `moved (the first: page ${comparison.first?.page} of ${comparison.first?.region}): do not trust it, restart it`,
            )
          : null;
    return this.#report.result(outcome, error, this.#context.now() - this.#startedAt);
  }

  get #pageSender(): PageSender {
    if (!this.#sender) throw new MigrationError('internal', 'pages are sent before the streams are open');
    return this.#sender;
  }

  async #copy(round: number, runs: readonly Run[]): Promise<{ copied: CopyFigures; wireBytes: number }> {
    const wireBefore = this.#pageSender.wireBytes;
    const copied = await this.#send(round, runs);
    await this.#barrier(round);
    return { copied, wireBytes: this.#pageSender.wireBytes - wireBefore };
  }

  async #send(round: number, runs: readonly Run[]): Promise<CopyFigures> {
    const { guest, now, onProgress } = this.#context;
    const pagesTotal = countPages(runs);
    const startedAt = now();
    const wireBefore = this.#pageSender.wireBytes;
    let reportedAt = startedAt;
    return await copyRuns(runs, guest.regions, this.#pageSender, this.#stop.signal, (pagesDone) => {
      const at = now();
      if (at - reportedAt < PROGRESS_EVERY_MS) return;
      reportedAt = at;
      const bytes = this.#pageSender.wireBytes - wireBefore;
      onProgress({ round, pagesDone, pagesTotal, bytesPerSecond: (bytes / (at - startedAt)) * 1000 });
    });
  }

  /** Waits until the target has applied all that was sent. */
  async #barrier(round: number): Promise<void> {
    const [ack] = await Promise.all([
      this.#conversation.expect('round-ack', this.#context.timeouts.roundAckMs),
      this.#pageSender.sendRoundEnd(round),
    ]);
    if (ack.round !== round) {
      throw new MigrationError(
        'unexpected-message',
        `the target acknowledged round ${ack.round} in round ${round}`,
      );
    }
  }

  async #compare(): Promise<void> {
    const { guest, timeouts } = this.#context;
    await compareMemory(guest.regions, this.#conversation, timeouts.roundAckMs, this.#report.comparison);
  }

  #addRound(...args: Parameters<MigrationReport['addRound']>): void {
    const round = this.#report.addRound(...args);
    this.#context.onRound(round, this.#report.decision?.thresholdBytes ?? 0);
  }

  /** The parts that were measured one by one; what is left of the whole went into commit and resume. */
  #measureDowntime(): void {
    const { downtime } = this.#report;
    this.#report.downtimeMs = this.#context.now() - (this.#pausedAt ?? 0);
    const measured = downtime.pauseMs + downtime.residualMs + downtime.stateMs + downtime.loadMs;
    downtime.resumeMs = Math.max(0, this.#report.downtimeMs - measured);
  }
}

/** Both results; on a failure only once both have ended, so that nothing goes on behind an abort. */
async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}

function unknownOutcome({ id, vm, to }: MigrationSubject, cause: MigrationError): MigrationError {
  return new MigrationError(
    'outcome-unknown',
    `VM ${vm} is paused here: the commit of migration ${id} was sent and node ${to} has not been heard of since ` +
      `(${cause.message}). It goes on asking. Bring ${to} or the link back, and do not start ${vm} anywhere by hand`,
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

function phaseOf(state: SourceState): MigrationPhase {
  return PHASES[state.name];
}
