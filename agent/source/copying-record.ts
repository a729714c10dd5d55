import type { CopyingReport, MigrationOptions, RoundResult } from '../../shared/api.js';

/** Rounds that are told of a migration that runs: who looks asks again every second. Stalls of 100 rounds are seen still. */
const TOLD_ROUNDS = 100;

/** Keeps what CopyingReport tells of a migration, from its first page on. */
export class CopyingRecord {
  readonly #limits: CopyingReport['limits'];
  readonly #startedAt = performance.now();
  readonly #rounds: RoundResult[] = [];
  #thresholdBytes: number | null = null;

  constructor({ maxRounds, maxTotalMs, stallRounds, onLimit }: MigrationOptions) {
    this.#limits = { maxRounds, maxTotalMs, stallRounds, onLimit };
  }

  add(round: RoundResult, thresholdBytes: number): void {
    this.#rounds.push(round);
    if (this.#rounds.length > TOLD_ROUNDS) this.#rounds.shift();
    this.#thresholdBytes = thresholdBytes;
  }

  report(): CopyingReport {
    return {
      rounds: [...this.#rounds],
      thresholdBytes: this.#thresholdBytes,
      elapsedMs: performance.now() - this.#startedAt,
      limits: this.#limits,
    };
  }
}
