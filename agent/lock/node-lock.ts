import type { QueueEntry } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { InOrder } from '../../shared/in-order.js';
import { IDLE_LIMIT_MS, IdleAccounts, LAPSE_MS } from './idle-accounts.js';
import type { LockAnswer, LockCommand } from './lock-messages.js';
import type { NodeLockListener, NodeLockPort } from './node-lock-port.js';
import { lockStatus, queueEntries } from './node-queue-view.js';
import {
  emptyNodeQueue,
  findEntry,
  idleFor,
  transition,
  type NodeQueue,
  type NodeQueueEffect,
  type NodeQueueEvent,
} from './node-queue.js';
import { LEASE_GRACE_MS, OVERTAKE_LIMIT } from '../../shared/lock-limits.js';
import { systemTimers, type Timers } from '../../shared/timers.js';

/** Entries of one queue; bounds the memory and the work per event that peers can make a node spend. */
export const MAX_QUEUE_ENTRIES = 1024;

/** Time a remote coordinator has to answer an offer. ms; bounds how long one that hangs, connected, keeps a node idle. */
export const OFFER_ANSWER_MS = 30_000;

/** Least time between two reports of its place to a waiter. ms; bounds the messages that a busy queue sends. */
export const STATUS_INTERVAL_MS = 100;

/** The part of a pino logger that the lock uses. */
export interface LockLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface NodeLockOptions {
  node: string;
  overtakeLimit?: number;
  graceMs?: number;
  maxEntries?: number;
  /** False: the lock keeps nobody out. */
  exclusive?: boolean;
  offerAnswerMs?: number;
  idleLimitMs?: number;
  lapseMs?: number;
  timers?: Pick<Timers, 'after'>;
  /** Monotonic. ms */
  now?: () => number;
  logger?: LockLogger;
}

const silent: LockLogger = { info: () => undefined, warn: () => undefined };

const EVENTS = {
  'lock-try': 'try',
  'lock-pass': 'pass',
  'lock-confirm': 'confirm',
  'lock-keep': 'keep',
  'lock-release': 'release',
} as const;

/** The one who speaks for a migration at this node: its coordinator here, or a connection to the one elsewhere. */
interface Speaker {
  readonly migration: string;
  readonly from: string;
  readonly to: string;
  readonly remote: boolean;
  listener: NodeLockListener | undefined;
  /** Its request was taken and it has not been told that the entry is gone. */
  accepted: boolean;
  lastStatus: string;
  stopOfferTimer: () => void;
}

/** The use of the node by a migration that runs. */
export interface Occupation {
  /**
   * The agent has nothing of the migration any more, or the guest is its own. The node is free then, if `release` says so
   * or the coordinator had given it back or was gone past its lease. Harmless when repeated.
   */
  end(release: boolean): void;
}

/** A remote coordinator's access to the lock, for as long as its connection lasts. */
export interface NodeLockSession extends NodeLockPort {
  /** Whether the migration is in the queue and waits for the node, and it is this session that speaks for it. */
  waits(): boolean;
  /** Whether the migration has the node, and it is this session that speaks for it. */
  holds(): boolean;
  /**
   * Keeps the node for the migration, whatever its coordinator says or its lease does, until the occupation ends: this
   * agent has something of the migration, and another one must not find the node free. `released` is called at once
   * where the coordinator gives the node back meanwhile. Null unless the migration runs here and it is this
   * session that speaks for it: who just shows its id has no part in it.
   */
  occupy(released: () => void): Occupation | null;
  /** The connection is gone: the lease of the migration starts to run out. Harmless when repeated. */
  detach(): void;
}

/**
 * The lock of this agent's node: the queue with its connections and timers. Events are processed one after the
 * other, also where an answer makes its receiver say the next thing at once.
 */
export class NodeLock {
  readonly node: string;
  readonly overtakeLimit: number;
  #queue: NodeQueue;
  readonly #graceMs: number;
  readonly #offerAnswerMs: number;
  readonly #timers: Pick<Timers, 'after'>;
  readonly #logger: LockLogger;
  readonly #speakers = new Map<string, Speaker>();
  readonly #leases = new Map<string, () => void>();
  readonly #idle: IdleAccounts;
  /** Migrations whose entry stays until their occupation ends; `gone`: it was to be removed before. */
  readonly #occupied = new Map<string, { gone: boolean; readonly released: () => void }>();
  readonly #events = new InOrder<{ event: NodeQueueEvent; speaker: Speaker | undefined }>(
    ({ event, speaker }) => this.#step(event, speaker),
  );
  #closed = false;
  #stopStatusTimer: (() => void) | undefined;

  constructor(options: NodeLockOptions) {
    this.node = options.node;
    this.overtakeLimit = options.overtakeLimit ?? OVERTAKE_LIMIT;
    this.#graceMs = options.graceMs ?? LEASE_GRACE_MS;
    this.#offerAnswerMs = options.offerAnswerMs ?? OFFER_ANSWER_MS;
    this.#timers = options.timers ?? systemTimers;
    this.#logger = options.logger ?? silent;
    const maxEntries = options.maxEntries ?? MAX_QUEUE_ENTRIES;
    this.#queue = emptyNodeQueue(this.node, this.overtakeLimit, maxEntries, options.exclusive);
    this.#idle = new IdleAccounts({
      timers: this.#timers,
      now: options.now ?? (() => systemTimers.now()),
      limitMs: options.idleLimitMs ?? IDLE_LIMIT_MS,
      lapseMs: options.lapseMs ?? LAPSE_MS,
      lapse: (node) => {
        this.#logger.warn(
          { node },
          'node stood idle for too long for migrations of another: others come first',
        );
        this.#dispatch({ type: 'lapse', node });
      },
      forgive: (node) => this.#dispatch({ type: 'forgive', node }),
    });
  }

  /** Id of the migration that has this node, or null. */
  get holder(): string | null {
    return this.#queue.entries.find((entry) => entry.phase === 'running')?.migration ?? null;
  }

  /** Those that have or need this node: the holder first, then the waiting ones in order of arrival. */
  entries(): QueueEntry[] {
    return queueEntries(this.#queue);
  }

  /** The lock for a migration that this agent coordinates: `from` is this node. */
  localPort(migration: string, to: string): NodeLockPort {
    return this.#session({ migration, from: this.node, to, remote: false });
  }

  /** The lock for a migration to this node that the agent of `from` coordinates over a connection. */
  remoteSession(migration: string, from: string): NodeLockSession {
    return this.#session({ migration, from, to: this.node, remote: true });
  }

  /**
   * Stops the lease of a migration whose connection was gone and is back for something else than the lock, as a
   * source that asks for an outcome. Returns false if the lock knows no such migration (any more).
   */
  attach(migration: string): boolean {
    if (!findEntry(this.#queue, migration)) return false;
    this.#dispatch({ type: 'attach', migration });
    return true;
  }

  /** Starts the lease again, once the connection of `attach` is gone. */
  detach(migration: string): void {
    this.#dispatch({ type: 'detach', migration });
  }

  /** Stops all timers and sets no more: for the end of the agent, when leases do not matter any more. */
  close(): void {
    this.#closed = true;
    for (const stop of this.#leases.values()) stop();
    this.#leases.clear();
    for (const speaker of this.#speakers.values()) speaker.stopOfferTimer();
    this.#idle.close();
    this.#stopStatusTimer?.();
    this.#stopStatusTimer = undefined;
  }

  #session(who: Pick<Speaker, 'migration' | 'from' | 'to' | 'remote'>): NodeLockSession {
    const speaker: Speaker = {
      ...who,
      listener: undefined,
      accepted: false,
      lastStatus: '',
      stopOfferTimer: () => undefined,
    };
    return {
      node: this.node,
      waits: () => this.#speakers.get(speaker.migration) === speaker && !this.#runs(speaker.migration),
      holds: () => this.#speakers.get(speaker.migration) === speaker && this.#runs(speaker.migration),
      occupy: (released) => this.#occupy(speaker, released),
      listen: (listener) => void (speaker.listener = listener),
      send: (command) => this.#command(speaker, command),
      mute: () => {
        const { listener } = speaker;
        speaker.listener = listener && { answer: () => undefined, ended: (error) => listener.ended(error) };
      },
      detach: () => {
        if (this.#speakers.get(speaker.migration) !== speaker) return;
        this.#forget(speaker);
        this.#dispatch({ type: 'detach', migration: speaker.migration });
      },
    };
  }

  #command(speaker: Speaker, command: LockCommand): void {
    const { migration } = speaker;
    if (command.type === 'lock-request') {
      this.#request(speaker, command);
      return;
    }
    if (this.#speakers.get(migration) !== speaker) {
      // Releasing what is gone is what a coordinator does to be sure.
      if (command.type === 'lock-release') return;
      const error = speaker.accepted
        ? this.#lost(migration)
        : new MigrationError(
            'unexpected-message',
            `migration ${migration} sent ${command.type} and is not in the queue of node ${this.node}: request first`,
          );
      speaker.listener?.ended(error);
      return;
    }
    if (command.type === 'lock-pass' || command.type === 'lock-confirm') speaker.stopOfferTimer();
    if (command.type === 'lock-release') {
      this.#forget(speaker);
      if (this.#staysOccupied(migration)) return;
    }
    this.#dispatch({ type: EVENTS[command.type], migration }, speaker);
  }

  #runs(migration: string): boolean {
    return findEntry(this.#queue, migration)?.phase === 'running';
  }

  #occupy(speaker: Speaker, released: () => void): Occupation | null {
    const { migration } = speaker;
    if (!this.#runs(migration) || this.#speakers.get(migration) !== speaker) return null;
    if (this.#occupied.has(migration)) return null;
    const occupation = { gone: false, released };
    this.#occupied.set(migration, occupation);
    return {
      end: (release) => {
        if (this.#occupied.get(migration) !== occupation) return;
        this.#occupied.delete(migration);
        if (!release && !occupation.gone) return;
        if (this.#speakers.get(migration) === speaker) this.#forget(speaker);
        this.#dispatch({ type: 'release', migration });
      },
    };
  }

  /** For what would free the node: true if that has to wait for the end of the occupation. */
  #staysOccupied(migration: string): boolean {
    const occupation = this.#occupied.get(migration);
    if (!occupation) return false;
    occupation.gone = true;
    occupation.released();
    return true;
  }

  #request(speaker: Speaker, command: Extract<LockCommand, { type: 'lock-request' }>): void {
    const { migration, from, to } = speaker;
    const current = this.#speakers.get(migration);
    if (current && current !== speaker && speaker.remote && current.from === from && !this.#runs(migration)) {
      // The source has noticed before us that the connection broke, and is back on a new one.
      this.#dispatch({ type: 'detach', migration });
      this.#endSpeaker(
        current,
        new MigrationError('link-lost', `migration ${migration} came back on another connection`),
      );
    }
    const { vm, requestedAt, priority = 0 } = command;
    const request = { migration, vm, from, to, requestedAt, priority };
    this.#dispatch({ type: 'request', request }, speaker);
  }

  #dispatch(event: NodeQueueEvent, speaker?: Speaker): void {
    this.#events.push({ event, speaker });
    this.#scheduleStatus();
  }

  #step(event: NodeQueueEvent, speaker: Speaker | undefined): void {
    const holder = this.holder;
    const { state, effects } = transition(this.#queue, event);
    this.#queue = state;
    this.#log(event, holder);
    if (event.type === 'confirm' && this.#runs(event.migration)) {
      this.#idle.clear(findEntry(state, event.migration)!.from);
    }
    this.#idle.charge(idleFor(state));
    if (event.type === 'request' && speaker && !effects.some((effect) => effect.type === 'refuse')) {
      speaker.accepted = true;
      this.#speakers.set(speaker.migration, speaker);
    }
    for (const effect of effects) this.#perform(effect, speaker);
  }

  #perform(effect: NodeQueueEffect, issuer: Speaker | undefined): void {
    const { migration } = effect;
    const speaker = this.#speakers.get(migration);
    switch (effect.type) {
      case 'granted':
      case 'offer':
        if (speaker?.remote && !this.#closed) this.#startOfferTimer(speaker);
        speaker?.listener?.answer({ type: effect.type === 'offer' ? 'lock-offer' : 'lock-granted' });
        return;
      case 'busy':
        speaker?.listener?.answer({ type: 'lock-busy' });
        return;
      case 'kept':
        this.#logger.info({ migration }, 'node is kept for a migration overtaken often enough');
        if (speaker) this.#sendStatus(speaker);
        return;
      case 'start-lease':
        if (this.#closed) return;
        this.#leases.set(
          migration,
          this.#timers.after(this.#graceMs, () => {
            if (!this.#staysOccupied(migration)) this.#dispatch({ type: 'expire', migration });
          }),
        );
        return;
      case 'stop-lease':
        this.#leases.get(migration)?.();
        this.#leases.delete(migration);
        return;
      case 'refuse':
        issuer?.listener?.ended(new MigrationError(effect.code, effect.message));
        return;
    }
  }

  #startOfferTimer(speaker: Speaker): void {
    const { migration } = speaker;
    speaker.stopOfferTimer = this.#timers.after(this.#offerAnswerMs, () => {
      if (this.#speakers.get(migration) !== speaker) return;
      this.#logger.warn({ migration }, 'offer of the node lock was not answered');
      this.#dispatch({ type: 'detach', migration });
      this.#endSpeaker(
        speaker,
        new MigrationError(
          'timeout',
          `the coordinator of migration ${migration} did not answer the offer of node ${this.node} within ${this.#offerAnswerMs} ms`,
        ),
      );
    });
  }

  #scheduleStatus(): void {
    if (this.#closed || this.#stopStatusTimer || this.#speakers.size === 0) return;
    this.#stopStatusTimer = this.#timers.after(STATUS_INTERVAL_MS, () => {
      this.#stopStatusTimer = undefined;
      for (const speaker of [...this.#speakers.values()]) this.#sendStatus(speaker);
    });
  }

  /** Only to those that wait: one that was offered the node hears the rest of it first. */
  #sendStatus(speaker: Speaker): void {
    const status: LockAnswer | undefined = lockStatus(this.#queue, speaker.migration);
    if (!status) return;
    const text = JSON.stringify(status);
    if (text === speaker.lastStatus) return;
    speaker.lastStatus = text;
    speaker.listener?.answer(status);
  }

  #forget(speaker: Speaker): void {
    speaker.stopOfferTimer();
    this.#speakers.delete(speaker.migration);
  }

  #endSpeaker(speaker: Speaker, error: MigrationError): void {
    if (this.#speakers.get(speaker.migration) === speaker) this.#forget(speaker);
    speaker.listener?.ended(error);
  }

  #lost(migration: string): MigrationError {
    return new MigrationError(
      'lock-lost',
      `migration ${migration} has lost its place at node ${this.node}: it was released there`,
    );
  }

  #log(event: NodeQueueEvent, holderBefore: string | null): void {
    const { holder } = this;
    if (event.type === 'expire' && !findEntry(this.#queue, event.migration)) {
      const { migration } = event;
      this.#logger.warn({ migration }, 'lease ran out: the coordinator did not come back');
    }
    if (holder === holderBefore) return;
    if (holderBefore !== null) this.#logger.info({ migration: holderBefore }, 'node lock released');
    if (holder !== null) this.#logger.info({ migration: holder }, 'node lock taken');
  }
}
