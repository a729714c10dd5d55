import { type ConvergenceOptions, decide } from '../../agent/source/convergence.js';
import type { ConvergenceReason } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import type { RoundFigures } from '../../shared/round-figures.js';
import { writtenBytes, type WorkingSet } from './dirtying.js';

/** What a model of a migration is told of a guest. */
export interface PrecopyGuest {
  /** What round 0 sends. */
  readonly populatedBytes: number;
  readonly writes: readonly WorkingSet[];
}

/** What a migration takes beside sending pages. ms */
export interface Overheads {
  /** From the grant of the pair lock to the first page: connections, the target's preparations. */
  readonly prepare: number;
  /** Of each round: the barrier, the harvest. */
  readonly round: number;
  /** From the last harvest until the guest stands still. */
  readonly pause: number;
  /** What saving its devices takes; the residual is sent meanwhile. */
  readonly saving: number;
  /** The rest of the switchover: the final harvest, loading, the records of the commit, resume. */
  readonly switchover: number;
  /** From the resume until the pair lock is free: the source clears its copy away. */
  readonly release: number;
}

export type PrecopyStep =
  /** `until`: when it ends even if not all was sent; on the clock of the simulation, ms. */
  | { readonly do: 'send'; readonly bytes: number; readonly until: number }
  | { readonly do: 'wait'; readonly ms: number };

/** What comes back from a step. */
export interface StepEnd {
  readonly now: number;
  /** Of what was to be sent. */
  readonly leftBytes: number;
}

export interface PrecopyResult {
  readonly reason: ConvergenceReason;
  /** False: it was cancelled at a limit, and the guest stays. */
  readonly moved: boolean;
  /** Rounds while the guest runs, and the one of the switchover. */
  readonly rounds: number;
  readonly wireBytes: number;
  /** 0 if it was not moved. */
  readonly downtimeMs: number;
}

/**
 * One migration, from its first page until the guest runs on the target: the rounds of agent/source/source-steps.ts without
 * their effects. It decides by the engine's own rules. Whoever drives it says how long each step took.
 */
export function* precopy(
  { populatedBytes, writes }: PrecopyGuest,
  options: ConvergenceOptions,
  overheads: Overheads,
  startedAt: number,
): Generator<PrecopyStep, PrecopyResult, StepEnd> {
  const deadline = startedAt + options.maxTotalMs;
  const figures: RoundFigures[] = [];
  let now = startedAt;
  let pending = populatedBytes;
  let wireBytes = 0;
  let roundMs: number;
  let decision: ReturnType<typeof decide>;
  do {
    const roundStartedAt = now;
    const { leftBytes } = yield { do: 'send', bytes: pending, until: deadline };
    ({ now } = yield { do: 'wait', ms: overheads.round });
    roundMs = now - roundStartedAt;
    const sentBytes = pending - leftBytes;
    wireBytes += sentBytes;
    // What a time limit left unsent is in the residual already: as a part of it as large was written once more.
    const unsent = pending === 0 ? 0 : leftBytes / pending;
    pending = leftBytes + writtenBytes(writes, roundMs) * (1 - unsent);
    figures.push({
      wireBytes: sentBytes,
      ms: roundMs,
      residualPages: Math.ceil(pending / PAGE_SIZE),
    });
    decision = decide(figures, now - startedAt, options);
  } while (decision.next === 'round');
  const reason = decision.reason as ConvergenceReason;
  const rounds = figures.length;
  if (decision.next === 'cancel') return { reason, moved: false, rounds, wireBytes, downtimeMs: 0 };

  ({ now } = yield { do: 'wait', ms: overheads.pause });
  pending += writtenBytes(writes, roundMs + overheads.pause) - writtenBytes(writes, roundMs);
  const stoppedAt = now;
  wireBytes += pending;
  ({ now } = yield { do: 'send', bytes: pending, until: Infinity });
  const savedAt = stoppedAt + overheads.saving;
  ({ now } = yield { do: 'wait', ms: Math.max(0, savedAt - now) + overheads.switchover });
  return { reason, moved: true, rounds: rounds + 1, wireBytes, downtimeMs: now - stoppedAt };
}

/** A migration that has a link to itself, as one at a time per node has. `totalMs`: with what comes before and after. */
export function precopyAlone(
  guest: PrecopyGuest,
  options: ConvergenceOptions,
  overheads: Overheads,
  bytesPerMs: number,
): PrecopyResult & { readonly copyMs: number; readonly totalMs: number } {
  const migration = precopy(guest, options, overheads, 0);
  let now = 0;
  let step = migration.next();
  while (!step.done) {
    let leftBytes = 0;
    if (step.value.do === 'wait') now += step.value.ms;
    else {
      const end = Math.max(now, Math.min(now + step.value.bytes / bytesPerMs, step.value.until));
      leftBytes = Math.max(0, step.value.bytes - (end - now) * bytesPerMs);
      now = end;
    }
    step = migration.next({ now, leftBytes });
  }
  return { ...step.value, copyMs: now, totalMs: overheads.prepare + now };
}
