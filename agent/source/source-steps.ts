import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { JournalEntry } from '../journal/ownership-journal.js';
import { countPages, type Run, unionRuns } from '../../shared/page.js';
import { unixNow } from '../../shared/unix-clock.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { compareMemory } from './compare-memory.js';
import { decide } from './convergence.js';
import type { Conversation } from './conversation.js';
import type { CopyFigures } from './copy-runs.js';
import type { MigrationReport } from './migration-report.js';
import { askUntilAnswered } from './outcome-question.js';
import { keepGuest, releaseMoved } from './after-migration.js';
import { PageSending } from './page-sending.js';
import type { AgreedPages, SourceContext } from './source-context.js';
import { StreamChoice } from './stream-choice.js';
import type { SourceEffect, SourceEvent } from './source-state.js';
import { StateSending } from './state-sending.js';

export interface SourceStepsContext extends SourceContext {
  readonly conversation: Conversation;
  readonly report: MigrationReport;
  /** What happens beside the step that is under way. */
  readonly dispatch: (event: SourceEvent) => void;
  /** What fails beside the step that is under way: a page stream ends or stalls. */
  readonly fail: (error: MigrationError) => void;
  /** Ends the asking when the agent shuts down. */
  readonly dispose: AbortSignal;
}

/** The effects of source-state.ts, one method each: what is done with the guest, the link and the journal. */
export class SourceSteps {
  readonly #context: SourceStepsContext;
  readonly #timers: Pick<Timers, 'after'>;
  /** Whether the guest is to run after the migration, on the target: as it was when it was paused. */
  #guestRan = true;
  /** Ends the step that is under way when the migration is given up. */
  readonly #stop = new AbortController();
  #sending: PageSending | null = null;
  #agreed: AgreedPages | null = null;
  #pending: Run[] = [];
  #copyStartedAt = 0;
  /** Since when what the guest writes is not harvested yet. */
  #followedSince = 0;
  #pausedAt: number | null = null;
  #state: StateSending | null = null;
  #stateDigest = '';
  /** Is told once the target is at work: the guest stands still. */
  #lastRound: Parameters<MigrationReport['addRound']>[0] | null = null;
  /** Rounds that were ended on the link: those that were copied, and what was sent of the state before the guest stood still. */
  #rounds = 0;
  /** Acknowledgements that nothing waits for before the target is ready. */
  #acknowledged: Promise<void>[] = [];

  constructor(context: SourceStepsContext) {
    this.#context = context;
    this.#timers = context.timers ?? systemTimers;
  }

  get wireBytes(): number {
    return this.#sending?.wireBytes ?? 0;
  }

  /** Resolves with what came of it; what it throws is a failure of the step. */
  carryOut(effect: Exclude<SourceEffect, { do: 'report-unknown' }>): Promise<SourceEvent> {
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

  /** Ends the step that is under way, and lets the target know at once. */
  interrupt(error: MigrationError): void {
    const { control, conversation } = this.#context;
    this.#stop.abort(error);
    conversation.end(error);
    // If this can't be sent, the target finds out by the end of the connection.
    control
      .send({ type: 'abort', code: error.code, message: error.message.slice(0, 1000) })
      .catch(() => undefined);
    this.#sending?.close(error);
  }

  /** The guest's writes are followed, and what there is to copy is found, while the target prepares. */
  async #prepare(): Promise<SourceEvent> {
    const { guest, journal, image, now } = this.#context;
    const preparations = [
      this.#openStreams(),
      journal.stage(this.#commitSent()),
      guest.writeLog.start().then(async () => {
        this.#followedSince = now();
        this.#pending = await guest.populated();
      }),
    ];
    // What fails ends the others, and all have ended when this does: nothing goes on behind an abort.
    for (const each of preparations)
      each.catch((error: unknown) => this.#context.fail(toMigrationError(error)));
    await Promise.allSettled(preparations);
    await Promise.all(preparations);
    if (image) await this.#pages.blob('program-image', 0, image);
    return { type: 'prepared' };
  }

  async #openStreams(): Promise<void> {
    const { guest, image, options, timeouts, conversation, subject, fail } = this.#context;
    const { streams, pageToken, openPages } = this.#context;
    const agreed = await conversation.ask(
      {
        type: 'prepare',
        definition: guest.definition,
        imageBytes: image?.length ?? 0,
        regions: guest.regions.map(({ name, memory }) => ({ name, bytes: memory.length })),
        traits: this.#context.traits,
        streams,
        ...(pageToken !== null && { pageToken }),
        verify: options.verify,
        dryRun: false,
      },
      'prepared',
      timeouts.prepareMs,
    );
    this.#agreed = agreed;
    const { signal } = this.#stop;
    const sender = await openPages(agreed, signal);
    this.#sending = new PageSending(sender, conversation, {
      ...this.#context,
      choice: new StreamChoice(options.streams, streams),
      timers: this.#timers,
      signal,
      onStall: fail,
    });
    sender.onClose((end) => {
      const text = `a page connection to node ${subject.to} ended: ${end.reason || `code ${end.code}`}`;
      fail(new MigrationError('link-lost', text));
    });
  }

  async #copyRound(round: number): Promise<SourceEvent> {
    const { guest, options, now, report } = this.#context;
    const startedAt = now();
    if (round === 0) {
      this.#copyStartedAt = startedAt;
      report.populatedPages = countPages(this.#pending);
    }
    const wireBefore = this.wireBytes;
    // A round that takes longer than all of them may ends early; what is left of it is part of the residual.
    const deadline = this.#copyStartedAt + options.maxTotalMs;
    const { left, ...copied } = await this.#pages.runs(round, this.#pending, deadline);
    await this.#endRound();
    report.streams = this.#pages.streams(this.#agreed!);
    const wireBytes = this.wireBytes - wireBefore;
    const harvestedAt = now();
    const written = await guest.writeLog.harvest();
    guest.writeLog.confirm?.();
    this.#pending = unionRuns([...left, ...written]);
    const residualPages = countPages(this.#pending);
    const ms = now() - startedAt;
    report.figures.push({ wireBytes, ms, residualPages });
    const decision = decide(report.figures, now() - this.#copyStartedAt, options);
    report.decision = decision;
    report.pagesSent += copied.pages;
    this.#addRound(
      { round, ...copied, wireBytes, ms, residualPages },
      { pages: countPages(written), ms: harvestedAt - this.#followedSince },
    );
    this.#followedSince = harvestedAt;
    return { type: 'round-copied', decision };
  }

  async #pause(): Promise<SourceEvent> {
    const { guest, now, report } = this.#context;
    const askedAt = now();
    this.#pausedAt = askedAt;
    this.#guestRan = guest.state !== 'paused';
    const state = new StateSending(this.#pages);
    this.#state = state;
    const stoppedAt = await guest.pauseForSwitchover((piece) => state.take(piece));
    // What is done before the guest stands still is no downtime. Two clocks meet here: never before it was asked.
    const ms = Math.min(Math.max(0, unixNow() - stoppedAt), now() - askedAt);
    this.#pausedAt = now() - ms;
    report.downtime.pauseMs = ms;
    report.switchover = { stoppedAt, resumedAt: null };
    // The target's machine takes what there is while the residual is on its way.
    if (state.bytes > 0) {
      await state.sent();
      this.#acknowledged.push(settling(this.#endRound()));
    }
    return { type: 'paused' };
  }

  async #switchOver(round: number): Promise<SourceEvent> {
    const { guest, now, options, report } = this.#context;
    const startedAt = now();
    const wireBefore = this.wireBytes;
    // The machine is told first: it saves its devices while the log is read.
    const [, first] = await both(guest.saveState(), this.#sendResidual(round));
    const residualSentAt = now();
    // Saving the devices may write guest memory; only now is the log final.
    const last = await this.#pages.runs(round, await guest.writeLog.harvest());
    this.#stateDigest = (await this.#state?.sent()) ?? '';
    const acknowledged = settling(this.#endRound());
    this.#acknowledged.push(acknowledged);
    // Otherwise the target is asked to finalize at once: it does when all of it is there.
    const verify = options.verify === 'strict';
    if (verify) await acknowledged;
    this.#pending = [];
    report.downtime.residualMs = residualSentAt - startedAt;
    report.downtime.stateMs = now() - residualSentAt;
    const pages = first.pages + last.pages;
    report.pagesSent += pages;
    this.#lastRound = {
      round,
      pages,
      zeroPages: first.zeroPages + last.zeroPages,
      bytes: first.bytes + last.bytes,
      wireBytes: this.wireBytes - wireBefore,
      ms: now() - startedAt,
      residualPages: 0,
    };
    return { type: 'state-sent', verify };
  }

  async #sendResidual(round: number): Promise<CopyFigures> {
    const { writeLog } = this.#context.guest;
    const written = await writeLog.harvest();
    return await this.#pages.runs(round, unionRuns([...this.#pending, ...written]));
  }

  async #verify(): Promise<SourceEvent> {
    const { now, subject, report } = this.#context;
    const startedAt = now();
    await this.#compare();
    report.downtime.verifyMs = now() - startedAt;
    const { mismatches, first, pagesChecked } = report.comparison;
    if (mismatches > 0) {
      throw new MigrationError(
        'verify-mismatch',
        `${mismatches} of ${pagesChecked} pages differ on node ${subject.to} (the first: page ` +
          `${first?.page} of ${first?.region}): the write-log or the link is broken; the VM was not moved`,
      );
    }
    return { type: 'verified' };
  }

  async #finalize(): Promise<SourceEvent> {
    const { conversation, guest, journal, now, report, timeouts } = this.#context;
    const askedAt = now();
    const loading = conversation.ask(
      {
        type: 'finalize',
        round: this.#rounds - 1,
        stateDigest: this.#stateDigest,
        pagesSent: report.pagesSent,
        resume: this.#guestRan,
      },
      'ready',
      timeouts.finalizeMs,
    );
    // The record is written while the target loads, not after it: earlier is safe, since it says no more than that the
    // target is to be asked, and a target that was never sent a commit answers that it has none.
    const recording = journal.decide(this.#commitSent());
    // Nothing is committed yet: to look now is early enough, and holds up nothing.
    const confirming = new Promise<void>((resolve) => resolve(guest.writeLog.confirm?.()));
    if (this.#lastRound) this.#addRound(this.#lastRound, null);
    const [{ loadMs }] = await both(loading, both(recording, confirming));
    await Promise.all(this.#acknowledged);
    report.downtime.loadMs = loadMs;
    // What was still on its way when it was asked.
    report.downtime.stateMs += Math.max(0, now() - askedAt - loadMs);
    return { type: 'ready' };
  }

  /** Nothing is left to write, as a rule: what counts is that no other decision came first. */
  async #recordCommit(): Promise<SourceEvent> {
    const { id } = this.#context.subject;
    const decision = await this.#context.journal.decide(this.#commitSent());
    if (decision !== 'commit-sent') {
      const text = `the journal says that migration ${id} is ${decision}: its commit is not sent`;
      throw new MigrationError('internal', text);
    }
    return { type: 'commit-recorded' };
  }

  #commitSent(): JournalEntry {
    const { id: migration, vm, to: peer } = this.#context.subject;
    return { migration, decision: 'commit-sent', vm, peer, at: new Date().toISOString() };
  }

  async #commit(): Promise<SourceEvent> {
    const { conversation, timeouts, report, subject } = this.#context;
    const answer = await conversation.ask({ type: 'commit' }, 'running', timeouts.commitMs);
    const { failure, resumedAt } = answer;
    if (report.switchover) report.switchover = { ...report.switchover, resumedAt };
    if (failure !== null) {
      report.resumeFailure = new MigrationError(
        'guest-failed',
        `VM ${subject.vm} has moved to node ${subject.to} and is paused there, because it could not be resumed: ` +
          `${failure}; look at it there, then 'vmferry vm resume ${subject.vm}' or restart it`,
      );
    }
    this.#measureDowntime();
    return { type: 'running' };
  }

  async #ask(): Promise<SourceEvent> {
    const { dispatch, dispose } = this.#context;
    const outcome = await askUntilAnswered(this.#context, this.#timers, dispose, () =>
      dispatch({ type: 'unanswered' }),
    );
    // To the moment of the answer: when the target resumed it is not known here.
    if (outcome === 'committed') this.#measureDowntime();
    return { type: 'answered', outcome };
  }

  async #release(): Promise<SourceEvent> {
    await releaseMoved(this.#context, () => this.#compare());
    this.#sending?.close();
    return { type: 'released' };
  }

  async #abort(): Promise<SourceEvent> {
    const error = await keepGuest(this.#context, this.#pausedAt !== null);
    // Streams that were being opened when the step was interrupted are known only now.
    this.#sending?.close();
    return { type: 'aborted', error };
  }

  async #endRound(): Promise<void> {
    this.#rounds += 1;
    await this.#pages.barrier(this.#rounds - 1);
  }

  get #pages(): PageSending {
    if (!this.#sending) throw new MigrationError('internal', 'pages are sent before the streams are open');
    return this.#sending;
  }

  async #compare(): Promise<void> {
    const { guest, timeouts, conversation, report } = this.#context;
    await compareMemory(guest.regions, conversation, timeouts.roundAckMs, report.comparison);
  }

  #addRound(...args: Parameters<MigrationReport['addRound']>): void {
    const { report, onRound } = this.#context;
    onRound(report.addRound(...args), report.decision?.thresholdBytes ?? 0);
  }

  /** The parts that were measured one by one; what is left of the whole went into commit and resume. */
  #measureDowntime(): void {
    const { now, report } = this.#context;
    const { downtime } = report;
    report.downtimeMs = now() - (this.#pausedAt ?? 0);
    const measured =
      downtime.pauseMs + downtime.residualMs + downtime.stateMs + downtime.verifyMs + downtime.loadMs;
    downtime.resumeMs = Math.max(0, report.downtimeMs - measured);
  }
}

/** Both results; on a failure only once both have ended, so that nothing goes on behind an abort. */
async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}

/** A promise that is awaited later: until then its failure is nobody's. */
function settling(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}
