import type {
  MigrationEvent,
  MigrationInfo,
  MigrationPhase,
  MigrationResult,
  RoundResult,
} from '../shared/api.js';

/** What is known of one migration, round by round. */
export interface MigrationTrace extends Pick<MigrationInfo, 'id' | 'vm' | 'from' | 'to' | 'progress'> {
  readonly phase: MigrationPhase;
  readonly rounds: readonly RoundResult[];
  /** Largest residual that fits the downtime limit; null as long as that is not known. */
  readonly thresholdBytes: number | null;
  /** The round that is copied with the guest paused; null before it comes to that. */
  readonly switchoverRound: number | null;
  readonly result: MigrationResult | null;
}

export function traceOf({
  id,
  vm,
  from,
  to,
  phase,
  progress,
  copying,
  result,
}: MigrationInfo): MigrationTrace {
  const { rounds, thresholdBytes } = copying ?? { rounds: [], thresholdBytes: null };
  const trace = { id, vm, from, to, phase, progress, rounds, thresholdBytes };
  const nothing = { switchoverRound: null, result: null };
  return result ? ended({ ...trace, ...nothing }, result) : { ...trace, ...nothing };
}

/** Whether another node has told all that is drawn of a migration: it may be of another version, and has not been checked. */
export function isDrawable({ copying, progress }: MigrationInfo): boolean {
  const figures = (value: unknown, names: readonly string[]) =>
    names.every((name) => typeof (Object(value) as Record<string, unknown>)[name] === 'number');
  return (
    typeof copying === 'object' &&
    copying !== null &&
    Array.isArray(copying.rounds) &&
    copying.rounds.every((round) => figures(round, ROUND_FIGURES)) &&
    (copying.thresholdBytes === null || figures(copying, ['thresholdBytes'])) &&
    figures(copying, ['elapsedMs']) &&
    figures(copying.limits, ['maxRounds', 'maxTotalMs', 'stallRounds']) &&
    (progress === null || figures(progress, PROGRESS_FIGURES))
  );
}

const ROUND_FIGURES = [
  ...['round', 'pages', 'zeroPages', 'bytes', 'ms', 'bytesPerSecond', 'dirtyPagesPerSecond', 'residualPages'],
];
const PROGRESS_FIGURES = ['round', 'pagesDone', 'pagesTotal', 'bytesPerSecond'];

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
