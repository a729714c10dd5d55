import type { MigrationOptions, MigrationResult, Outcome, RoundResult } from '../../shared/api.js';
import type { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import type { RoundFigures } from '../../shared/round-figures.js';
import type { Guest, WriteLog } from '../guest/guest.js';
import type { Comparison } from './compare-memory.js';
import type { Decision } from './convergence.js';

/** Which migration it is: what logs, events and the result name. */
export interface MigrationSubject {
  readonly id: string;
  readonly vm: string;
  readonly from: string;
  readonly to: string;
}

/** Collects the figures of one migration while it runs, and makes the result of them. */
export class MigrationReport {
  readonly comparison: Comparison = { pagesChecked: 0, mismatches: 0, first: null, failure: null };
  readonly rounds: RoundResult[] = [];
  readonly figures: RoundFigures[] = [];
  decision: Decision | null = null;
  populatedPages = 0;
  pagesSent = 0;
  wireBytes = 0;
  downtime = { pauseMs: 0, residualMs: 0, stateMs: 0, verifyMs: 0, loadMs: 0, resumeMs: 0 };
  downtimeMs = 0;
  switchover: MigrationResult['switchover'] = null;
  streams: MigrationResult['streams'] = null;
  /** Why the guest does not run on the target, whose it is. */
  resumeFailure: MigrationError | null = null;
  readonly #subject: MigrationSubject;
  readonly #options: MigrationOptions;
  readonly #ramBytes: number;
  readonly #writeLog: WriteLog;

  constructor(subject: MigrationSubject, guest: Guest, options: MigrationOptions) {
    this.#subject = subject;
    this.#options = options;
    this.#ramBytes = guest.regions.reduce((sum, region) => sum + region.memory.length, 0);
    this.#writeLog = guest.writeLog;
  }

  /** `written`: by the guest, in the time between the harvest before and that after the round; null for a guest that is paused. */
  addRound(
    copied: Omit<RoundResult, 'bytesPerSecond' | 'dirtyPagesPerSecond'>,
    written: { readonly pages: number; readonly ms: number } | null,
  ): RoundResult {
    const round: RoundResult = {
      ...copied,
      bytesPerSecond: perSecond(copied.wireBytes, copied.ms),
      dirtyPagesPerSecond: written === null ? 0 : perSecond(written.pages, written.ms),
    };
    this.rounds.push(round);
    return round;
  }

  result(outcome: Outcome, error: MigrationError | null, totalMs: number): MigrationResult {
    const { decision } = this;
    return {
      ...this.#subject,
      outcome,
      error: error === null ? null : error.toJSON(),
      totalMs,
      queuedMs: 0,
      downtimeMs: this.downtimeMs,
      // copies: the result of an unknown outcome is read while this goes on
      downtime: { ...this.downtime },
      switchover: this.switchover,
      convergence:
        decision === null || decision.next === 'round' || decision.reason === 'above-threshold'
          ? null
          : { reason: decision.reason, action: decision.next, thresholdBytes: decision.thresholdBytes },
      rounds: [...this.rounds],
      ramBytes: this.#ramBytes,
      populatedBytes: this.populatedPages * PAGE_SIZE,
      wireBytes: this.wireBytes,
      writeLog: this.#writeLog.kind,
      writeLogReason: this.#writeLog.reason,
      streams: this.streams,
      verify: {
        mode: this.#options.verify,
        pagesChecked: this.comparison.pagesChecked,
        mismatches: this.comparison.mismatches,
      },
    };
  }
}

function perSecond(amount: number, ms: number): number {
  return ms > 0 ? (amount / ms) * 1000 : 0;
}
