import { MigrationError, refusalError, toMigrationError } from '../../shared/errors.js';
import { InOrder } from '../../shared/in-order.js';
import { PAGE_SIZE, type Run } from '../../shared/page.js';
import type { PreflightFinding, SourceMessage, Transport } from '../../shared/protocol/messages.js';
import { delay, systemTimers, type Timers } from '../../shared/timers.js';
import type { Guest, IncomingGuest } from '../guest/guest.js';
import type { JournalEntry, OwnershipJournal } from '../journal/ownership-journal.js';
import { errorMessage, messageText } from '../link/error-message.js';
import type { BlobKind, PageSink, TargetControl } from '../link/link.js';
import { ArrivingState } from './arriving-state.js';
import { BlobBuffer } from './blob-buffer.js';
import { ReceivedMemory } from './received-memory.js';
import { RoundBarrier } from './round-barrier.js';
import { ZERO_FRAME_PROGRESS_BYTES } from './silent-source.js';
import {
  type Finalize,
  isFromSource,
  type Prepare,
  type TargetEffect,
  type TargetEvent,
  type TargetState,
  transition,
  type VerifyRequest,
} from './target-state.js';

/**
 * A source that has heard 'ready' records the commit and sends it: two messages and an fsync. One that takes longer,
 * its connection alive, must not hold the node's lock and memory for ever. ms
 */
export const COMMIT_TIMEOUT_MS = 60_000;

/** Between two attempts to make certain that a commit which could not be recorded is not on the disk. ms */
const MAKE_CERTAIN_EVERY_MS = 1_000;

/** The stream that carries blobs, in order. */
const BLOB_STREAM = 0;

/** What the session needs of the node that it brings a guest to. */
export interface IncomingHost {
  /** Everything that speaks for or against taking that guest; changes nothing. */
  preflight(prepare: Prepare): Promise<PreflightFinding[]>;
  /**
   * Creates the guest, paused and empty, and keeps its name and memory for it, with its definition on disk. Throws what
   * preflight refuses. Its machine may fail to start later.
   */
  create(prepare: Prepare): Promise<IncomingGuest>;
  /** Writes the guest's program image ahead of its commit: a full disk must be found before. */
  stageImage(vm: string, image: Uint8Array): Promise<void>;
  /** Makes the guest one of the node's own: it was committed. At once; what is to be on disk follows in the background. */
  adopt(guest: Guest): void;
  /** Destroys a guest of that name that was created and not committed, and frees its name and memory. */
  discard(vm: string): Promise<void>;
}

/** What page streams are opened for. */
export interface StreamsRequest extends Pick<Prepare, 'streams' | 'verify'> {
  readonly pageToken: string | undefined;
  readonly memory: ReceivedMemory;
  /** Where those that are read in this thread deliver. */
  readonly sink: PageSink;
  /** A stream that is read in another thread has ended a round; `pagesApplied`: by it, in all rounds. */
  readonly roundEndElsewhere: (stream: number, round: number, pagesApplied: number) => void;
  /** So many bytes came by a stream that is read in another thread. */
  readonly heardElsewhere: (bytes: number) => void;
  /** They are not needed any more: what is still being opened is given up. */
  readonly signal?: AbortSignal;
}

/** What is said of them in `prepared`. */
export interface OpenedStreams {
  readonly transport: Transport;
  readonly token: string;
  /** Why they are not the faster ones, for the operator. */
  readonly finding: PreflightFinding | null;
}

/** What a target session needs of the agent. What onState throws is a warning and changes nothing. */
export interface TargetContext {
  readonly migration: string;
  /** The node that the guest comes from. */
  readonly peer: string;
  readonly control: TargetControl;
  readonly host: IncomingHost;
  readonly journal: OwnershipJournal;
  /** Does what a dry run looks at when there is room for it; rejects where the signal aborts before. */
  readonly inTurn: <T>(signal: AbortSignal, look: () => Promise<T>) => Promise<T>;
  /** Opens the page streams at the source, where that was offered and works, or makes those of the source welcome. */
  readonly openStreams: (request: StreamsRequest) => Promise<OpenedStreams>;
  /** Resolves once no stream that this side has opened can write any more. Rejects if the source has not sent all of a frame. */
  readonly sealStreams: () => Promise<void>;
  readonly closeStreams: () => void;
  /** Aborts when the agent ends: an outcome that is not certain by then is left to its next run. */
  readonly agentEnds: AbortSignal;
  /** For COMMIT_TIMEOUT_MS and MAKE_CERTAIN_EVERY_MS; those of the process if not given. */
  readonly timers?: Pick<Timers, 'after'>;
  /** Monotonic clock, for what is measured. ms */
  readonly now: () => number;
  readonly onState: (state: TargetState, prepare: Prepare | null) => void;
  /** Something that went wrong and changes nothing about the outcome. */
  readonly onWarning: (message: string, error: unknown) => void;
}

/** One migration, on the side that the guest comes to: carries out the effects of target-state.ts. */
export class TargetSession {
  readonly #context: TargetContext;
  readonly #events = new InOrder<TargetEvent>((event) => this.#take(event));
  #state: TargetState = { name: 'opened' };
  #prepare: Prepare | null = null;
  #finalize: Finalize | null = null;
  /** Set once the guest is created; its machine may still be starting. */
  #incoming: IncomingGuest | null = null;
  #unwatchGuest: () => void = () => undefined;
  /** The program image is being written to disk. */
  #imageStaged: Promise<void> | null = null;
  #memory: ReceivedMemory | null = null;
  #image: BlobBuffer | null = null;
  #deviceState = new ArrivingState();
  /** The guest is loading it, while it arrives. */
  #loading: Promise<void> | null = null;
  #rounds = new RoundBarrier(1);
  /** Has come before the end of the round that it is about: they travel on connections of their own. */
  #earlyFinalize: Finalize | null = null;
  #pageBytes = 0;
  /** Pages whose hashes were asked for. */
  #pagesAsked = 0;
  /** A verify-request is being answered: one at a time, for each costs a thousand times of what it takes to ask. */
  #hashesDue = false;
  #step: Promise<void> = Promise.resolve();
  /** Aborts when the migration is given up: what is only needed for it is not begun. */
  readonly #ending = new AbortController();
  #cancelCommitTimeout: () => void = () => undefined;
  #settle!: () => void;
  /** Resolves when the guest runs here or everything of it is discarded; or the agent ends, the commit being uncertain. */
  readonly settled: Promise<void>;

  constructor(context: TargetContext) {
    this.#context = context;
    this.settled = new Promise((resolve) => (this.#settle = resolve));
  }

  get state(): TargetState {
    return this.#state;
  }

  /** What the page streams have delivered, as it counts for the progress of the source. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /**
   * Takes a message of the source that is not for the lock. One that does not fit the state fails the migration. Throws
   * limit-exceeded for one that the connection is to end with.
   */
  receive(message: SourceMessage): void {
    switch (message.type) {
      case 'prepare':
        this.#dispatch({ type: 'prepare', message });
        break;
      case 'verify-request':
        this.#countAsked(message);
        this.#dispatch({ type: 'verify-request', message });
        break;
      case 'finalize':
        this.#takeFinalize(message);
        break;
      case 'commit':
        this.#dispatch({ type: 'commit' });
        break;
      case 'abort': {
        const error = new MigrationError(message.code, `node ${this.#context.peer}: ${message.message}`);
        this.#dispatch({ type: 'abort', error });
        break;
      }
      default:
        this.#reject(this.#unexpected(message.type));
    }
  }

  /** A source compares once, before or after the commit. One that asks on would keep this node at work for ever. */
  #countAsked({ pageCount }: VerifyRequest): void {
    if (!this.#prepare) return;
    const pages = this.#prepare.regions.reduce((sum, { bytes }) => sum + bytes / PAGE_SIZE, 0);
    this.#pagesAsked += pageCount;
    if (this.#pagesAsked <= pages) return;
    const text = `hashes of ${this.#pagesAsked} pages were asked for, and the guest has ${pages}: each page once`;
    throw new MigrationError('limit-exceeded', text);
  }

  /** It counts once all streams have ended its round, and waits for that where it has overtaken them. */
  #takeFinalize(message: Finalize): void {
    if (this.#earlyFinalize) this.#reject(this.#unexpected('finalize'));
    else if (this.#state.name === 'receiving' && message.round >= this.#rounds.over) {
      this.#earlyFinalize = message;
    } else this.#dispatch({ type: 'finalize', message });
  }

  /** Something outside of the steps failed: a connection ended, the peer broke the protocol, the agent shuts down. */
  fail(error: MigrationError): void {
    this.#dispatch({ type: 'failed', error });
  }

  /** Where the page streams deliver. */
  readonly sink: PageSink = {
    pages: (_stream, run) => this.#receiving('pages')?.check(run),
    payload: (_stream, region, offset, chunk) => this.#receiving('pages')?.write(region, offset, chunk),
    delivered: (_stream, bytes) => (this.#pageBytes += bytes),
    place: (_stream, region, offset, bytes) => this.#receiving('pages')?.place(region, offset, bytes) ?? null,
    pagesEnd: (_stream, run) => this.#receiving('pages')?.applied(run),
    zeroPages: (_stream, run) => this.#zeroPages(run),
    blob: (stream, kind, offset, chunk) => this.#blob(stream, kind, offset, chunk),
    roundEnd: (stream, round) => this.#roundEnd(stream, round),
  };

  /**
   * The memory to write to; null where the migration is being given up: what is still on its way is dropped, and the
   * control connection says why.
   */
  #receiving(what: string): ReceivedMemory | null {
    if (this.#state.name === 'aborting' || this.#state.name === 'aborted') return null;
    if (this.#state.name !== 'receiving' || !this.#memory) throw this.#unexpected(what);
    return this.#memory;
  }

  #unexpected(what: string): MigrationError {
    const { migration } = this.#context;
    return new MigrationError(
      'unexpected-message',
      `'${what}' came while migration ${migration} is ${this.#state.name}`,
    );
  }

  #zeroPages(run: Run): void {
    const memory = this.#receiving('zero-pages');
    if (!memory) return;
    this.#pageBytes += ZERO_FRAME_PROGRESS_BYTES;
    memory.check(run);
    memory.writeZeros(run);
    memory.applied(run);
  }

  #blob(stream: number, kind: BlobKind, offset: number, chunk: Uint8Array): void {
    if (!this.#receiving('blob')) return;
    if (stream !== BLOB_STREAM) throw this.#unexpected(`a blob on stream ${stream}`);
    const buffer = kind === 'device-state' ? this.#deviceState : this.#image;
    if (!buffer) throw this.#unexpected('a program image that was not announced');
    buffer.add(offset, chunk);
    if (buffer === this.#image && buffer.complete) this.#stageImage(buffer.bytes);
  }

  /** While pages come: nothing of it is left to do in the switchover. */
  #stageImage(image: Uint8Array): void {
    this.#imageStaged = this.#context.host.stageImage(this.#prepare!.definition.name, image);
    this.#imageStaged.catch((error: unknown) => this.fail(toMigrationError(error)));
  }

  #roundEnd(stream: number, round: number): void {
    if (!this.#receiving('round-end')) return;
    const over = this.#rounds.end(stream, round);
    if (stream === BLOB_STREAM) this.#deviceState.endRound();
    if (!over) return;
    if (this.#deviceState.release()) void this.#startLoading();
    this.#dispatch({ type: 'round-ended', round: this.#rounds.over - 1 });
    const finalize = this.#earlyFinalize;
    if (finalize === null || finalize.round >= this.#rounds.over) return;
    this.#earlyFinalize = null;
    this.#dispatch({ type: 'finalize', message: finalize });
  }

  /** What fails of it ends the migration at once, however much is still to come. */
  #startLoading(): Promise<void> {
    if (!this.#loading) {
      this.#loading = this.#machine.then((guest) => guest.loadState(this.#deviceState));
      this.#loading.catch((error: unknown) => this.fail(toMigrationError(error, 'load-failed')));
    }
    return this.#loading;
  }

  /** Events follow each other, also where a listener causes one while another is dealt with. */
  #dispatch(event: TargetEvent): void {
    this.#events.push(event);
  }

  #take(event: TargetEvent): void {
    const step = transition(this.#state, event);
    if (step === null) {
      // The results of steps that an abort overtook mean nothing; a message out of place is the peer's error.
      if (isFromSource(event)) this.#reject(this.#unexpected(event.type));
      return;
    }
    if (step.effect?.do === 'send-hashes') {
      if (this.#hashesDue) {
        const text = `'verify-request' came before the one before it was answered`;
        this.#reject(new MigrationError('unexpected-message', text));
        return;
      }
      this.#hashesDue = true;
    }
    if (event.type === 'prepare') this.#prepare = event.message;
    const moved = step.state.name !== this.#state.name;
    this.#state = step.state;
    if (moved) this.#entered(step.state);
    if (step.effect) this.#perform(step.effect);
    if (step.state.name === 'aborted') this.#settle();
  }

  #entered(state: TargetState): void {
    const { onState, onWarning, timers = systemTimers } = this.#context;
    this.#cancelCommitTimeout();
    // The step that opens streams ends at once, and what it prepared is discarded.
    if (state.name === 'aborting') this.#ending.abort(state.error);
    if (state.name === 'ready') {
      this.#cancelCommitTimeout = timers.after(COMMIT_TIMEOUT_MS, () => {
        const text = `node ${this.#context.peer} did not send the commit within ${COMMIT_TIMEOUT_MS} ms`;
        this.fail(new MigrationError('timeout', text));
      });
    }
    try {
      onState(state, this.#prepare);
    } catch (error) {
      onWarning('a listener for the progress of the migration failed', error);
    }
  }

  /** Fails the migration, or just says so where the guest is the node's own already; an end that has begun has its reason. */
  #reject(error: MigrationError): void {
    const over = this.#state.name === 'aborting' || this.#state.name === 'aborted';
    if (transition(this.#state, { type: 'failed', error })) this.fail(error);
    else if (!over) this.#sendError(error);
  }

  /** Runs an effect after the one before it, and feeds its outcome back. */
  #perform(effect: TargetEffect): void {
    this.#step = this.#step.then(async () => {
      try {
        const event = await this.#carryOut(effect);
        if (event) this.#dispatch(event);
      } catch (error) {
        this.#reject(toMigrationError(error));
      }
    });
  }

  async #carryOut(effect: TargetEffect): Promise<TargetEvent | null> {
    switch (effect.do) {
      case 'prepare':
        return await this.#create(effect.message);
      case 'acknowledge-round':
        this.#send({ type: 'round-ack', round: effect.round });
        return null;
      case 'send-hashes':
        this.#sendHashes(effect.message);
        return null;
      case 'load':
        return await this.#load(effect.message);
      case 'send-ready':
        this.#send({ type: 'ready', loadMs: effect.loadMs });
        return null;
      case 'record-commit':
        return await this.#recordCommit();
      case 'resume':
        return await this.#resume();
      case 'send-running':
        this.#sendRunning(effect);
        this.#letGo();
        this.#settle();
        return null;
      case 'discard':
        return await this.#discard(effect);
    }
  }

  async #create(message: Prepare): Promise<TargetEvent | null> {
    const { host, journal, openStreams, inTurn } = this.#context;
    const look = () => host.preflight(message);
    const found = message.dryRun ? await inTurn(this.#ending.signal, look) : await look();
    const findings = found.map((finding) => ({
      ...finding,
      message: messageText(finding.message),
    }));
    if (message.dryRun) {
      this.#send({ type: 'prepared', transport: 'websocket', token: '', findings });
      return { type: 'reported' };
    }
    // The dry run before the queue was long ago.
    const refusal = findings.find(({ level }) => level === 'refusal');
    if (refusal) throw refusalError(refusal);
    const incoming = await host.create(message);
    this.#incoming = incoming;
    incoming.machine.then(
      (guest) => this.#watch(guest),
      (error: unknown) => this.fail(toMigrationError(error, 'guest-failed')),
    );
    await journal.stage(this.#decision('committed'));
    this.#memory = new ReceivedMemory(incoming.regions, message.verify);
    this.#rounds = new RoundBarrier(message.streams);
    if (message.imageBytes > 0) this.#image = new BlobBuffer('the program image', message.imageBytes);
    if (this.#state.name !== 'preparing') return null;
    // Pages may follow as soon as the source has the token, so the state must change before.
    this.#dispatch({ type: 'prepared' });
    const { transport, token, finding } = await openStreams({
      streams: message.streams,
      pageToken: message.pageToken,
      verify: message.verify,
      memory: this.#memory,
      sink: this.sink,
      roundEndElsewhere: (stream, round, pagesApplied) => {
        this.#memory?.appliedElsewhere(stream, pagesApplied);
        this.#roundEnd(stream, round);
      },
      heardElsewhere: (bytes) => (this.#pageBytes += bytes),
      signal: this.#ending.signal,
    });
    if (finding) findings.push(finding);
    this.#send({ type: 'prepared', transport, token, findings });
    return null;
  }

  #watch(guest: Guest): void {
    const look = () => {
      // Once it is committed the node watches it as one of its own.
      if (guest.failure) this.fail(toMigrationError(guest.failure, 'guest-failed'));
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
    this.#send({ type: 'running', resumeMs, resumedAt, failure });
  }

  /** The guest is the node's own, and may end before this connection does: what is still asked for are hashes. */
  #letGo(): void {
    this.#unwatchGuest();
    this.#incoming = null;
    this.#image = null;
    this.#deviceState = new ArrivingState();
    if (this.#prepare?.verify === 'after') this.#memory?.release();
    else this.#memory = null;
  }

  #sendHashes({ region, firstPage, pageCount }: VerifyRequest): void {
    this.#hashesDue = false;
    // Of a guest that runs only what was noted on arrival can be told; its memory moves on, and may be gone by then.
    const frozen = this.#state.name === 'receiving' || this.#prepare?.verify === 'after';
    if (!this.#memory || !frozen) throw this.#unexpected('verify-request');
    const hashes = this.#memory.hashes({ region, firstPage, pageCount });
    this.#send({ type: 'verify-hashes', region, firstPage, hashes });
  }

  async #load(message: Finalize): Promise<TargetEvent> {
    const startedAt = this.#context.now();
    this.#finalize = message;
    const sealed = this.#context.sealStreams();
    // Awaited before it may run: what is loaded meanwhile does not.
    sealed.catch(() => undefined);
    const applied = this.#memory?.pagesApplied ?? 0;
    if (applied !== message.pagesSent) {
      const text = `${message.pagesSent} pages were sent and ${applied} arrived: the link lost some`;
      throw new MigrationError('bad-frame', text);
    }
    const imageBytes = this.#image?.bytes.length ?? 0;
    if (imageBytes !== this.#prepare!.imageBytes) {
      const text = `a program image of ${this.#prepare!.imageBytes} bytes was announced and ${imageBytes} came`;
      throw new MigrationError('bad-frame', text);
    }
    this.#deviceState.complete(message.stateDigest);
    await this.#startLoading();
    await this.#imageStaged;
    await sealed;
    return { type: 'loaded', loadMs: this.#context.now() - startedAt };
  }

  async #recordCommit(): Promise<TargetEvent | null> {
    try {
      const decision = await this.#context.journal.decide(this.#decision('committed'));
      return decision === 'committed' ? { type: 'commit-recorded' } : { type: 'commit-refused' };
    } catch (failure) {
      const error = toMigrationError(failure);
      if (await this.#makeCertain(error)) return { type: 'record-failed', error };
      // The record that the next run finds decides, and the copy stays for it.
      this.#settle();
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
    if (answer === 'aborted') this.#send({ type: 'aborted' });
    else this.#sendError(error);
    closeStreams();
    this.#deviceState.fail(error);
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

  #sendError(error: MigrationError): void {
    this.#send(errorMessage(error));
  }

  /** A message that can't be sent needs no care: the end of the connection is an event of its own. */
  #send(message: Parameters<TargetControl['send']>[0]): void {
    this.#context.control.send(message).catch(() => undefined);
  }
}
