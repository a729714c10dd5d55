import type {
  MigrationEvent,
  MigrationInfo,
  MigrationPhase,
  MigrationResult,
  RoundResult,
} from '../shared/api.js';

/** What is known of one migration from here, round by round. */
export interface MigrationTrace extends Pick<MigrationInfo, 'id' | 'vm' | 'from' | 'to' | 'progress'> {
  readonly phase: MigrationPhase;
  readonly rounds: readonly RoundResult[];
  /** Largest residual that fits the downtime limit; null as long as that is not known. */
  readonly thresholdBytes: number | null;
  /** The round that is copied with the guest paused; null before it comes to that. */
  readonly switchoverRound: number | null;
  readonly result: MigrationResult | null;
}

export function traceOf({ id, vm, from, to, phase, progress, result }: MigrationInfo): MigrationTrace {
  const nothing = { rounds: [], thresholdBytes: null, switchoverRound: null, result: null };
  const trace = { id, vm, from, to, phase, progress, ...nothing };
  return result ? ended(trace, result) : trace;
}

export function withEvent(trace: MigrationTrace, event: MigrationEvent): MigrationTrace {
  switch (event.event) {
    case 'phase': {
      const { phase } = event;
      const { rounds } = trace;
      const switchoverRound =
        phase === 'switching-over' ? (rounds.at(-1)?.round ?? -1) + 1 : trace.switchoverRound;
      return { ...trace, phase, progress: null, switchoverRound };
    }
    case 'progress': {
      const { round, pagesDone, pagesTotal, bytesPerSecond } = event;
      return { ...trace, progress: { round, pagesDone, pagesTotal, bytesPerSecond } };
    }
    case 'round': {
      const { round, thresholdBytes } = event;
      return { ...trace, rounds: [...trace.rounds, round], thresholdBytes, progress: null };
    }
    case 'ended':
      return ended(trace, event.result);
    case 'queue':
      return trace;
  }
}

function ended(trace: MigrationTrace, result: MigrationResult): MigrationTrace {
  const { rounds, convergence } = result;
  const thresholdBytes = convergence?.thresholdBytes ?? trace.thresholdBytes;
  const switchoverRound = result.switchover ? (rounds.at(-1)?.round ?? null) : null;
  return { ...trace, phase: 'ended', progress: null, rounds, thresholdBytes, switchoverRound, result };
}
