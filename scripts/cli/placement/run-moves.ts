import { Slots } from '../../../agent/admission/slots.js';
import type { MigrationEvent, MigrationRequest, MigrationResult, Outcome } from '../../../shared/api.js';
import { type ErrorBody, toMigrationError } from '../../../shared/errors.js';
import { EXIT } from '../../../shared/api.js';
import type { ClusterAccess } from '../cluster-access.js';
import { type ExitCode, exitCodeOfRefusedStart, exitCodeOfResult } from '../exit-code.js';
import { followMigration } from '../../../client/follow-migration.js';
import type { UnderWay } from './node-guests.js';
import type { Move } from './plan-moves.js';

/** Event streams to one agent at once, which has room for 192 of one address. */
const STREAMS_OF_AGENT = 64;

/** A move and what has become of it. */
export interface MoveState extends Move {
  /** Null: it was not asked for. */
  migration: string | null;
  /** Null: it has not ended, as far as is known. */
  outcome: Outcome | null;
  error: ErrorBody | null;
  totalMs: number;
  queuedMs: number;
  downtimeMs: number;
}

/** Sees moves happen. */
export interface MoveShow {
  asked(state: MoveState): void;
  event(state: MoveState, event: MigrationEvent): void;
  /** `result`: null if it was refused, or can't be followed any more. */
  ended(state: MoveState, result: MigrationResult | null): void;
  /** The next words stand on a line of their own. */
  stop(): void;
}

export interface RunOptions {
  readonly access: ClusterAccess;
  /** What each is asked for with. */
  readonly request: Pick<MigrationRequest, 'options' | 'priority'>;
  readonly onFailure: 'stop' | 'continue';
  readonly show: MoveShow;
  /** Fires when nobody wants to know any more: what was asked for goes on. */
  readonly signal: AbortSignal;
  /** False: ends when all are asked for. */
  readonly follow: boolean;
}

export function planned(move: Move): MoveState {
  return { ...move, migration: null, outcome: null, error: null, totalMs: 0, queuedMs: 0, downtimeMs: 0 };
}

export function underWay({ migration, ...candidate }: UnderWay): MoveState {
  return { ...planned({ ...candidate, reason: 'asked for before', warnings: [] }), migration };
}

/**
 * Asks the sources' agents for all moves that have not been asked for, those of one source in order, and follows all to their ends. Which
 * run at the same time their locks decide. The states change as it goes; returns the first failure for which the rest was ended, or null.
 */
export async function runMoves(states: readonly MoveState[], options: RunOptions): Promise<MoveState | null> {
  return await new MoveRun(states, options).run();
}

class MoveRun {
  readonly #states: readonly MoveState[];
  readonly #options: RunOptions;
  readonly #streams = new Slots(Infinity, STREAMS_OF_AGENT);
  #failed: MoveState | null = null;

  constructor(states: readonly MoveState[], options: RunOptions) {
    this.#states = states;
    this.#options = options;
  }

  async run(): Promise<MoveState | null> {
    const sources = new Set(this.#states.map(({ from }) => from));
    await Promise.all([...sources].map((from) => this.#runFrom(from)));
    return this.#failed;
  }

  async #runFrom(from: string): Promise<void> {
    const { signal, follow } = this.#options;
    const followed: Promise<void>[] = [];
    for (const state of this.#states) {
      if (state.from !== from) continue;
      if (state.migration === null) {
        if (this.#failed || signal.aborted) continue;
        await this.#ask(state);
      }
      if (follow && state.migration !== null) followed.push(this.#follow(state));
    }
    await Promise.all(followed);
  }

  async #ask(state: MoveState): Promise<void> {
    const { access, request, show } = this.#options;
    const { vm, from, to } = state;
    try {
      const { id } = await access.at(from, (agent) => agent.startMigration({ vm, to, ...request }));
      state.migration = id;
      show.asked(state);
    } catch (thrown) {
      state.error = toMigrationError(thrown).toJSON();
      // A request that broke off may have been taken.
      if (exitCodeOfRefusedStart(state.error) !== EXIT.unknown) state.outcome = 'failed';
      await this.#fail(state, null);
      return;
    }
    // Another one has failed meanwhile.
    if (this.#failed) await cancelWaiting(access, from, state.migration);
  }

  async #follow(state: MoveState): Promise<void> {
    const { access, show, signal } = this.#options;
    const id = state.migration!;
    let result: MigrationResult;
    try {
      result = await this.#streams.run(state.from, signal, () =>
        followMigration({
          ...{ id, signal, client: access.agent(state.from) },
          onEvent: (event) => show.event(state, event),
        }),
      );
    } catch (thrown) {
      if (signal.aborted) return;
      state.error = toMigrationError(thrown).toJSON();
      await this.#fail(state, null);
      return;
    }
    const { outcome, error, totalMs, queuedMs, downtimeMs } = result;
    Object.assign(state, { outcome, error, totalMs, queuedMs, downtimeMs });
    if (exitCodeOfResult(result) === EXIT.done) show.ended(state, result);
    else await this.#fail(state, result);
  }

  async #fail(state: MoveState, result: MigrationResult | null): Promise<void> {
    const { access, show, onFailure } = this.#options;
    show.ended(state, result);
    if (onFailure === 'continue' || this.#failed) return;
    this.#failed = state;
    const waiting = this.#states.filter(({ migration, outcome }) => migration !== null && outcome === null);
    await Promise.all(
      waiting
        .filter((other) => other !== state)
        .map(({ from, migration }) => cancelWaiting(access, from, migration!)),
    );
  }
}

/** Cancels a migration that waits, and tells whether it did: one that has its nodes goes on. */
export async function cancelWaiting(access: ClusterAccess, from: string, id: string): Promise<boolean> {
  try {
    return await access.at(from, async (agent) => {
      if ((await agent.migration(id)).phase !== 'queued') return false;
      await agent.cancelMigration(id);
      return true;
    });
  } catch {
    // It has just ended, or its agent is away: what becomes of it is told by its events.
    return false;
  }
}

/** The exit code of moves: of the worst that became of one. */
export function exitCodeOfMoves(states: readonly MoveState[], stuck: readonly unknown[]): ExitCode {
  const all = states.map(exitCodeOfState);
  if (stuck.length > 0) all.push(EXIT.refused);
  const worst = [EXIT.unknown, EXIT.failed, EXIT.refused, EXIT.cancelled].find((code) => all.includes(code));
  return worst ?? EXIT.done;
}

/** A verification that found a difference has its error though the VM has moved. */
function exitCodeOfState({ migration, outcome, error }: MoveState): ExitCode {
  switch (outcome) {
    case 'completed':
      return error === null ? EXIT.done : EXIT.failed;
    case 'cancelled':
      return EXIT.cancelled;
    case 'failed':
      return error !== null && migration === null ? exitCodeOfRefusedStart(error) : EXIT.failed;
    case 'unknown':
      return EXIT.unknown;
    case null:
      // Not asked for since another one failed, or followed no further.
      return migration === null && error === null ? EXIT.done : EXIT.unknown;
  }
}
