import { formatBytes, formatDuration } from '../../../shared/units.js';
import type { Move } from '../bench-report.js';
import { bytesUnit, durationUnit, plainUnit } from './axis-unit.js';
import type { Measure } from './measure.js';

/** Whether a mover or a series is vmferry's own. */
export function isOurs(name: string): boolean {
  return /^vmferry\b/.test(name);
}

/** Whether it is shown beside the others: QEMU with RAM of its own doesn't move the guest that all others do. */
export function isBeside(mover: string): boolean {
  return /, private RAM$/.test(mover);
}

/** Whether the guest crashed on the target; null for one that doesn't tell of its work, where nobody would notice. */
export function crashed({ intact, workPerSecond }: Move): boolean | null {
  return intact && workPerSecond === null ? null : !intact;
}

export const TOTAL: Measure<Move> = {
  name: 'total',
  of: ({ totalMs }) => totalMs,
  format: formatDuration,
  unit: durationUnit,
  tells: ['range', 'ratio'],
};

export const DOWNTIME: Measure<Move> = {
  name: 'downtime',
  of: ({ downtimeMs }) => downtimeMs,
  format: formatDuration,
  unit: durationUnit,
  tells: ['range', 'ratio'],
};

/** How fast the guest's own work went on while it was moved. */
export const WORK: Measure<Move> = {
  name: 'work kept',
  of: ({ workPerSecond: work }) => (work && work.before > 0 ? (100 * work.during) / work.before : null),
  format: (percent) => `${percent.toFixed(1)} %`,
  unit: plainUnit('% of before'),
  tells: ['ratio'],
};

export const WIRE: Measure<Move> = {
  name: 'on the wire',
  of: ({ wireBytes }) => wireBytes,
  format: formatBytes,
  unit: bytesUnit,
  tells: ['ratio'],
};

export const PROCESSOR: Measure<Move> = {
  name: 'processor',
  of: ({ cpuMs: { source, target } }) => source + target,
  format: formatDuration,
  unit: durationUnit,
  tells: [],
};

export const COPY: Measure<Move> = {
  name: 'copy',
  of: ({ copyMs }) => copyMs,
  format: formatDuration,
  unit: durationUnit,
  tells: [],
};

export const ROUNDS: Measure<Move> = {
  name: 'rounds',
  of: ({ roundCount }) => roundCount,
  format: (rounds) => String(rounds),
  unit: plainUnit(''),
  tells: [],
};

export const POPULATED: Measure<Move> = {
  name: 'populated',
  of: ({ populatedBytes }) => populatedBytes,
  format: formatBytes,
  unit: bytesUnit,
  tells: [],
};

/**
 * Against the shortest time in which the link carries what is populated, once. `populatedOf`: bytes of that, for a move that is
 * measured by more than its own.
 */
export function toLeastTime(bytesPerSecond: number, populatedOf = POPULATED.of): Measure<Move> {
  return {
    name: 'to least time',
    of: (move) => {
      const bytes = populatedOf(move);
      return bytes === null || bytes === 0 ? null : move.totalMs / ((1000 * bytes) / bytesPerSecond);
    },
    format: (times) => times.toFixed(2),
    unit: plainUnit(''),
    tells: [],
  };
}
