import { Slots } from '../../../agent/admission/slots.js';
import type { MigrationEvent, MigrationRequest, MigrationResult, Outcome } from '../../../shared/api.js';
import { type ErrorBody, type ErrorCode, toMigrationError } from '../../../shared/errors.js';
import { EXIT } from '../../../shared/api.js';
import type { ClusterAccess } from '../cluster-access.js';
import { type ExitCode, exitCodeOfRefusedStart, exitCodeOfResult } from '../exit-code.js';
import { followMigration } from '../../../client/follow-migration.js';
import type { Candidate, UnderWay } from './node-guests.js';
import type { Move } from './plan-moves.js';

/** Event streams to one agent at once, which has room for 192 of one address. */
const STREAMS_OF_AGENT = 64;

/** Nodes that a VM is sent to at most in one run, one after the other. */
const MOST_TARGETS = 3;

/**
 * What fails a migration for its target or the way there, so that another node may do. Of 'guest-failed' that is so where the VM is well at
 * its source, which plans ask for.
 */
const OF_THE_TARGET = new Set<ErrorCode>([
  ...(['peer-unreachable', 'peer-untrusted', 'wrong-node', 'unknown-node', 'version-unsupported'] as const),
  ...(['link-lost', 'timeout', 'shutting-down', 'limit-exceeded', 'peer-failed', 'lock-lost'] as const),
  ...(['node-drained', 'target-has-guest', 'target-out-of-memory', 'unsupported-guest'] as const),
  ...([
    'unsupported-option',
    'preflight-refused',
    'refused-by-policy',
    'load-failed',
    'guest-failed',
  ] as const),
]);

/** A node that a VM did not come to, for a reason that is not the VM's. */
export interface FailedTarget {
  readonly node: string;
  readonly migration: string;
  readonly error: ErrorBody;
}

/** A move and what has become of it. */
export interface MoveState extends Candidate {
  to: string;
  reason: string;
  warnings: Move['warnings'];
  /** Where it was sent to before, in this run. */
  failedTargets: FailedTarget[];
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
  /** Its target has failed, and it is to go to another node. */
  redirected(state: MoveState): void;
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
  /** Plans moves whose targets have failed for other nodes; those for which there is one. Null where there is no other node. */
  readonly redirect: ((failed: readonly MoveState[]) => Promise<readonly Move[]>) | null;
}

const NOT_ASKED = {
  ...{ migration: null, outcome: null, error: null },
  ...{ totalMs: 0, queuedMs: 0, downtimeMs: 0 },
};

export function planned(move: Move): MoveState {
  return { ...move, ...NOT_ASKED, failedTargets: [] };
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
  /** Moves whose targets have failed, and that wait to be planned anew; and the planning. */
  readonly #homeless: MoveState[] = [];
  #redirecting = Promise.resolve();
  /** Settles once all were asked for. */
  #asked: Promise<unknown> = Promise.resolve();

  constructor(states: readonly MoveState[], options: RunOptions) {
    this.#states = states;
    this.#options = options;
  }

  async run(): Promise<MoveState | null> {
    const sources = [...new Set(this.#states.map(({ from }) => from))];
    const followed: Promise<void>[] = [];
    this.#asked = Promise.all(sources.map((from) => this.#askAllFrom(from, followed)));
    await this.#asked;
    await Promise.all(followed);
    return this.#failed;
  }

  async #askAllFrom(from: string, followed: Promise<void>[]): Promise<void> {
    for (const state of this.#states) {
      if (state.from !== from) continue;
      if (state.migration === null) {
        if (this.#isOver()) continue;
        await this.#ask(state);
      }
      if (this.#options.follow && state.migration !== null) followed.push(this.#follow(state));
    }
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
    while (state.migration !== null) {
      const result = await this.#end(state, state.migration);
      if (result === null) return;
      if (exitCodeOfResult(result) === EXIT.done) {
        this.#options.show.ended(state, result);
        return;
      }
      if (await this.#isRedirected(state, result)) continue;
      await this.#fail(state, result);
      return;
    }
  }

  /** How its migration ended; null where nobody wants to know, or it can't be followed and that was told. */
  async #end(state: MoveState, id: string): Promise<MigrationResult | null> {
    const { access, show, signal } = this.#options;
    try {
      const result = await this.#streams.run(state.from, signal, () =>
        followMigration({
          ...{ id, signal, client: access.agent(state.from) },
          onEvent: (event) => show.event(state, event),
        }),
      );
      const { outcome, error, totalMs, queuedMs, downtimeMs } = result;
      Object.assign(state, { outcome, error, totalMs, queuedMs, downtimeMs });
      return result;
    } catch (thrown) {
      if (signal.aborted) return null;
      state.error = toMigrationError(thrown).toJSON();
      await this.#fail(state, null);
      return null;
    }
  }

  /** Whether a move that failed has been asked for anew, to another node: where the target is what failed, and there is one. */
  async #isRedirected(state: MoveState, { outcome, error, id }: MigrationResult): Promise<boolean> {
    const { redirect } = this.#options;
    if (redirect === null || this.#isOver() || state.failedTargets.length + 1 >= MOST_TARGETS) return false;
    if (outcome !== 'failed' || error === null || !OF_THE_TARGET.has(error.code)) return false;
    this.#homeless.push(state);
    this.#redirecting = this.#redirecting.then(() => this.#redirectAll(redirect));
    await this.#redirecting;
    return state.failedTargets.at(-1)?.migration === id;
  }

  /** Those that have failed by now are planned together, and asked for before the next are: each plan sees what was planned before. */
  async #redirectAll(redirect: NonNullable<RunOptions['redirect']>): Promise<void> {
    const failed = this.#homeless.splice(0);
    await this.#asked;
    if (failed.length === 0 || this.#isOver()) return;
    const moves = await redirect(failed).catch(() => []);
    for (const state of failed) {
      const move = moves.find(({ vm, from }) => vm === state.vm && from === state.from);
      if (!move || this.#isOver()) continue;
      const { to: node, migration, error } = state;
      state.failedTargets.push({ node, migration: migration!, error: error! });
      Object.assign(state, move, NOT_ASKED);
      this.#options.show.redirected(state);
      await this.#ask(state);
    }
  }

  #isOver(): boolean {
    return this.#failed !== null || this.#options.signal.aborted;
  }

  async #fail(state: MoveState, result: MigrationResult | null): Promise<void> {
    const { access, show, onFailure } = this.#options;
    show.ended(state, result);
    if (onFailure === 'continue' || this.#isOver()) return;
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
