import type { Logger } from 'pino';
import type {
  MigrationInfo,
  MigrationOptions,
  MigrationPhase,
  MigrationResult,
  QueueEntry,
  RoundResult,
} from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { CLOSE_DONE, errorToCloseCode } from '../../shared/protocol/close-codes.js';
import type { OutgoingGuests } from '../guest/outgoing-guests.js';
import type { OwnershipJournal } from '../journal/ownership-journal.js';
import type { SourceControl } from '../link/link.js';
import type { StreamedPageSender } from '../link/page-sender.js';
import type { SendingThreads } from '../link/sending-threads.js';
import type { NodeLock } from '../lock/node-lock.js';
import type { NodeAddress } from '../node-address.js';
import { CopyingRecord } from './copying-record.js';
import type { Farewells } from './farewells.js';
import { type HeldPair, holdPair } from './hold-pair.js';
import { MigrationEvents } from './migration-events.js';
import type { MigrationHistory } from './migration-history.js';
import type { OpenQuestions } from './open-questions.js';
import { openPages } from './open-pages.js';
import type { PageOffers } from './page-offers.js';
import type { PeerDialer } from './peer-dialer.js';
import { SOURCE_TIMEOUTS, SourceSession } from './source-session.js';
import type { WaitingRequests } from './waiting-requests.js';

/** Hears of all migrations from a node what is worth counting. Must not throw. */
export interface OutgoingObserver {
  /** It was asked for and not begun. */
  refused(error: MigrationError): void;
  /** It has both nodes, after so long in their queues. */
  began(id: string, queuedMs: number): void;
  roundCopied(id: string, round: RoundResult): void;
  /** It has ended, with an outcome that may be 'unknown' as yet. */
  ended(result: MigrationResult): void;
  /** An outcome that was unknown at the end has become certain. */
  settled(result: MigrationResult): void;
}

/** What an outgoing migration needs of its agent. */
export interface OutgoingContext {
  readonly node: string;
  readonly guests: OutgoingGuests;
  readonly lock: NodeLock;
  readonly lockGraceMs: number;
  readonly journal: OwnershipJournal;
  readonly dialer: PeerDialer;
  readonly offers: PageOffers;
  readonly sendingThreads: SendingThreads;
  readonly questions: OpenQuestions;
  readonly farewells: Farewells;
  readonly waiting: WaitingRequests;
  readonly history: MigrationHistory;
  readonly observer: OutgoingObserver;
  readonly logger: Logger;
}

export interface OutgoingRequest {
  readonly id: string;
  readonly definition: GuestDefinition;
  readonly target: NodeAddress;
  /** What the target must know of the guest beside its definition. */
  readonly traits: Record<string, string>;
  readonly options: MigrationOptions;
  /** Its place in the queues: Unix time in ms, and hours of head start. */
  readonly requestedAt: number;
  readonly priority: number;
  /** As acquirePair has them. */
  readonly wait: boolean;
  readonly returning: boolean;
}

/** One migration away from this node, from its place in the queue to its end: lock, connection, session, outcome. */
export class OutgoingMigration {
  readonly id: string;
  readonly events: MigrationEvents;
  /** Resolves when the result was reported and all is released; never rejects. */
  readonly ended: Promise<void>;
  /** Resolves when the outcome is certain as well; never rejects. */
  readonly settled: Promise<void>;

  readonly #context: OutgoingContext;
  readonly #request: OutgoingRequest;
  readonly #logger: Logger;
  readonly #cancelWaiting = new AbortController();
  #settle!: () => void;
  #leaving = false;
  #session: SourceSession | null = null;
  #control: SourceControl | null = null;
  #bandwidthBytesPerSecond: number;
  #sender: StreamedPageSender | null = null;
  #phase: MigrationPhase = 'queued';
  #progress: MigrationInfo['progress'] = null;
  #copying: CopyingRecord | null = null;
  #queue: QueueEntry | null = null;
  #result: MigrationResult | null = null;
  #lockedAt: number | null = null;
  readonly #startedAt = performance.now();

  constructor(context: OutgoingContext, request: OutgoingRequest) {
    this.id = request.id;
    this.#context = context;
    this.#request = request;
    this.#bandwidthBytesPerSecond = request.options.bandwidthBytesPerSecond;
    // Who followed it before the agent started anew goes on behind what he has seen.
    this.events = new MigrationEvents(request.id, request.returning ? Date.now() : 0);
    this.#logger = context.logger.child({
      migration: request.id,
      vm: this.vm,
      pair: `${context.node}->${request.target.node}`,
      role: 'source',
    });
    this.settled = new Promise((resolve) => (this.#settle = resolve));
    this.ended = this.#run();
  }

  get vm(): string {
    return this.#request.definition.name;
  }

  get phase(): MigrationPhase {
    return this.#phase;
  }

  get result(): MigrationResult | null {
    return this.#result;
  }

  info(): MigrationInfo {
    const { target, requestedAt } = this.#request;
    return {
      id: this.id,
      vm: this.vm,
      from: this.#context.node,
      to: target.node,
      role: 'source',
      phase: this.#phase,
      requestedAt: new Date(requestedAt).toISOString(),
      bandwidthBytesPerSecond: this.#bandwidthBytesPerSecond,
      progress: this.#progress,
      copying: this.#copying?.report() ?? null,
      queue: this.#phase === 'queued' ? this.#queue : null,
      result: this.#result,
    };
  }

  /** Resolves once the guest goes on here for sure; throws too-late once the commit may have been sent. */
  async cancel(): Promise<void> {
    if (this.#result) {
      const text = `migration ${this.id} has ended already: it is ${this.#result.outcome}`;
      throw new MigrationError('wrong-state', text);
    }
    this.#cancelWaiting.abort();
    await this.#session?.cancel();
    await this.ended;
  }

  /** For the end of the agent: it waits on in the next run. Nothing once it has its nodes. */
  async leave(): Promise<void> {
    if (this.#phase !== 'queued') return;
    this.#leaving = true;
    this.#cancelWaiting.abort();
    await this.ended;
  }

  /** Another limit for what pages put on the link, 0 for none, whether or not it has come to that. Throws wrong-state. */
  limit(bandwidthBytesPerSecond: number): void {
    if (this.#result) {
      throw new MigrationError(
        'wrong-state',
        `migration ${this.id} has ended: it is ${this.#result.outcome}`,
      );
    }
    this.#bandwidthBytesPerSecond = bandwidthBytesPerSecond;
    this.#sender?.limit(bandwidthBytesPerSecond);
    this.#logger.info({ bandwidthBytesPerSecond }, 'bandwidth changed');
  }

  /** For the end of the agent: an outcome that is not known is not asked for any further. */
  dispose(): void {
    this.#session?.dispose();
  }

  async #run(): Promise<void> {
    let held: HeldPair | null = null;
    let result: MigrationResult;
    try {
      this.#enter('queued');
      held = await this.#waitForLock();
      result = await this.#migrate(held);
    } catch (thrown) {
      await this.#context.guests.end(this.vm, null);
      const { definition, target, options } = this.#request;
      const subject = { id: this.id, vm: this.vm, from: this.#context.node, to: target.node };
      result = resultWithoutSession(subject, definition.memory, options.verify, toMigrationError(thrown));
    } finally {
      held?.hold.release();
      // A close in good order tells the target that its record of the outcome is not asked for any more: not while it
      // is unknown, nor while the journal here would ask again after a restart.
      const known = this.#context.journal.get(this.id) === undefined;
      this.#control?.close(
        known ? CLOSE_DONE : errorToCloseCode('outcome-unknown'),
        'the migration has ended',
      );
      // An ended migration is shown for long; what it holds on to is the guest and its image.
      this.#control = null;
    }
    if (this.#leaving && result.outcome === 'cancelled') {
      this.#logger.info('migration waits on when the agent is back');
      this.#settle();
      return;
    }
    if (this.#lockedAt === null) await this.#context.waiting.remove(this.id);
    this.#end(result);
    if (result.outcome === 'unknown') return;
    this.#session = null;
    this.#sender = null;
    this.#settle();
  }

  async #waitForLock(): Promise<HeldPair> {
    const { target, requestedAt, priority, wait, returning } = this.#request;
    const held = await holdPair(this.#context, {
      ...{ migration: this.id, vm: this.vm, to: target, requestedAt, priority, wait, returning },
      signal: this.#cancelWaiting.signal,
      onControl: (control) => (this.#control = control),
      onQueue: (queue) => {
        this.#queue = queue;
        this.events.emit({ event: 'queue', queue });
      },
    });
    this.#lockedAt = performance.now();
    // What runs is not begun anew with the agent.
    await this.#context.waiting.remove(this.id);
    this.#context.observer.began(this.id, this.#queuedMs);
    return held;
  }

  async #migrate({ control, features }: HeldPair): Promise<MigrationResult> {
    if (this.#cancelWaiting.signal.aborted) {
      throw new MigrationError('cancelled', `migration ${this.id} was cancelled as it got its nodes`);
    }
    const { guests, dialer, journal, node } = this.#context;
    const { target, options, traits } = this.#request;
    const { guest, image } = guests.guestOf(this.vm, this.id);
    const pages = openPages(
      { ...this.#context, id: this.id, from: node, to: target, features },
      guest,
      options.streams,
      this.#bandwidthBytesPerSecond,
    );
    this.#session = new SourceSession({
      subject: { id: this.id, vm: this.vm, from: node, to: target.node },
      guest,
      image,
      traits,
      options,
      control,
      streams: pages.streams,
      pageToken: pages.token,
      openPages: async (agreed, signal) => {
        this.#sender = await pages.open(agreed, signal);
        // It may have been changed since it was asked for.
        this.#sender.limit(this.#bandwidthBytesPerSecond);
        return this.#sender;
      },
      askOutcome: (signal) => dialer.askOutcome(target, this.id, signal),
      removeMoved: () => guests.end(this.vm, target),
      journal,
      timeouts: SOURCE_TIMEOUTS,
      now: () => performance.now(),
      onState: (state, phase) => {
        this.#logger.debug({ state: state.name }, 'state changed');
        if (state.name === 'aborting') guests.markOwn(this.vm);
        // 'ended' is announced with the result.
        if (phase !== 'ended') this.#enter(phase);
      },
      onProgress: (progress) => {
        this.#progress = progress;
        this.events.emit({ event: 'progress', ...progress });
      },
      onRound: (round, thresholdBytes) => {
        const { round: number, pages, residualPages } = round;
        this.#logger.info({ round: number, pages, residualPages, ms: Math.round(round.ms) }, 'round copied');
        this.#copying?.add(round, thresholdBytes);
        this.#context.observer.roundCopied(this.id, round);
        this.events.emit({ event: 'round', round, thresholdBytes });
      },
      onQuestion: (question) => this.#context.questions.add(question),
      onWarning: (message, error) => this.#logger.warn({ err: error }, message),
    });
    const session = this.#session;
    const result = await session.reported;
    pages.withdraw();
    if (result.outcome !== 'unknown') {
      await this.#handOver(result);
      return result;
    }
    guests.markUnknown(this.vm, this.id);
    void session.settled.then(async (final) => {
      await this.#handOver(final);
      this.#logger.warn({ outcome: final.outcome }, 'the outcome is known now');
      this.#result = this.#timed(final);
      this.#remember(this.#result);
      this.#context.observer.settled(this.#result);
      // The answer has led through other phases once more.
      this.#phase = 'ended';
      this.#progress = null;
      this.#session = null;
      this.#settle();
    });
    return result;
  }

  async #handOver(result: MigrationResult): Promise<void> {
    const { target } = this.#request;
    const { guests, journal } = this.#context;
    const moved = result.outcome === 'completed';
    const cleared = await guests.end(this.vm, moved ? target : null);
    // What could not be cleared away or recorded at first: an open question would keep the VM from coming back.
    if (moved && cleared && journal.get(this.id)?.decision === 'commit-sent') {
      await journal
        .supersede(this.id, 'released')
        .catch((error: unknown) =>
          this.#logger.error({ err: error }, 'the end of the migration is not recorded'),
        );
    }
    this.#context.questions.close(this.vm);
    this.#context.farewells.start();
  }

  #enter(phase: MigrationPhase): void {
    if (phase === this.#phase && phase !== 'queued') return;
    this.#phase = phase;
    this.#progress = null;
    if (phase === 'copying') this.#copying = new CopyingRecord(this.#request.options);
    this.#logger.info({ phase }, 'phase entered');
    this.events.emit({ event: 'phase', phase });
  }

  #end(result: MigrationResult): void {
    this.#result = this.#timed(result);
    this.#phase = 'ended';
    this.#progress = null;
    this.#copying = null;
    const { outcome, error, totalMs, downtimeMs, downtime, rounds, wireBytes } = this.#result;
    const level =
      outcome === 'completed' && error === null ? 'info' : outcome === 'cancelled' ? 'warn' : 'error';
    const figures = { outcome, error, totalMs, downtimeMs, downtime, rounds: rounds.length, wireBytes };
    this.#logger[level](figures, 'migration ended');
    this.#remember(this.#result);
    this.#context.observer.ended(this.#result);
    this.events.emit({ event: 'ended', result: this.#result });
  }

  #remember(result: MigrationResult): void {
    this.#context.history.add(new Date(this.#request.requestedAt).toISOString(), result);
  }

  #timed(result: MigrationResult): MigrationResult {
    return { ...result, queuedMs: this.#queuedMs };
  }

  get #queuedMs(): number {
    return (this.#lockedAt ?? performance.now()) - this.#startedAt;
  }
}

/** Of a migration that did not come to its session. */
export function resultWithoutSession(
  subject: Pick<MigrationResult, 'id' | 'vm' | 'from' | 'to'>,
  ramBytes: number,
  verify: MigrationOptions['verify'],
  error: MigrationError,
): MigrationResult {
  return {
    ...subject,
    outcome: error.code === 'cancelled' ? 'cancelled' : 'failed',
    error: error.toJSON(),
    totalMs: 0,
    queuedMs: 0,
    downtimeMs: 0,
    downtime: { pauseMs: 0, residualMs: 0, stateMs: 0, verifyMs: 0, loadMs: 0, resumeMs: 0 },
    switchover: null,
    convergence: null,
    rounds: [],
    ramBytes,
    populatedBytes: 0,
    wireBytes: 0,
    writeLog: '',
    writeLogReason: '',
    streams: null,
    verify: { mode: verify, pagesChecked: 0, mismatches: 0 },
  };
}
