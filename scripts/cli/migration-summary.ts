import type { MigrationResult, PreflightReport } from '../../shared/api.js';
import { formatBytes, formatDuration } from '../../shared/units.js';
import { findingLines } from './finding-lines.js';
import { roundTable } from './round-table.js';

/** The result of a migration for people: outcome, rounds, downtime in one line, what was sent. */
export function migrationSummary(result: MigrationResult): string {
  const lines = [headline(result)];
  if (result.rounds.length > 0) lines.push('', roundTable(result.rounds), '');
  if (result.downtimeMs > 0) lines.push(downtimeLine(result));
  if (result.rounds.length > 0) lines.push(sentLine(result));
  if (result.streams?.finding) lines.push(...findingLines([result.streams.finding]));
  lines.push(...convergenceLines(result), ...verifyLines(result));
  return lines.join('\n');
}

/** Why the rounds ended, if they did. */
export function convergenceLines({ convergence }: MigrationResult): string[] {
  if (!convergence) return [];
  const { reason, action, thresholdBytes } = convergence;
  return [`rounds ended: ${reason}, so: ${action} (${formatBytes(thresholdBytes)} fit the downtime limit)`];
}

/** What comparing the memory showed, if it was asked for. */
export function verifyLines({ verify: { mode, pagesChecked, mismatches } }: MigrationResult): string[] {
  return mode === 'off' ? [] : [`verified (${mode}): ${pagesChecked} pages compared, ${mismatches} differ`];
}

export function headline({ id, vm, from, to, outcome, totalMs, queuedMs }: MigrationResult): string {
  const queued = queuedMs >= 1 ? `, after ${formatDuration(queuedMs)} in the queue` : '';
  switch (outcome) {
    case 'completed':
      return `${vm} moved from ${from} to ${to} in ${formatDuration(totalMs)}${queued} (migration ${id})`;
    case 'cancelled':
      return `migration ${id} of ${vm} to ${to} was cancelled: ${vm} is on ${from} as before`;
    case 'failed':
      return `migration ${id} of ${vm} to ${to} failed: ${vm} is on ${from} as before`;
    case 'unknown':
      return `migration ${id} of ${vm} from ${from} to ${to}: the outcome is not known; ${vm} stays paused on ${from} until it is`;
  }
}

function downtimeLine({ downtimeMs, downtime }: MigrationResult): string {
  const parts = [
    `pause ${formatDuration(downtime.pauseMs)}`,
    `residual ${formatDuration(downtime.residualMs)}`,
    `state ${formatDuration(downtime.stateMs)}`,
    ...(downtime.verifyMs > 0 ? [`verify ${formatDuration(downtime.verifyMs)}`] : []),
    `load ${formatDuration(downtime.loadMs)}`,
    `resume ${formatDuration(downtime.resumeMs)}`,
  ];
  return `downtime ${formatDuration(downtimeMs)}: ${parts.join(', ')}`;
}

export function sentLine({
  wireBytes,
  populatedBytes,
  ramBytes,
  writeLog,
  writeLogReason,
}: MigrationResult): string {
  return `sent ${formatBytes(wireBytes)} for ${formatBytes(populatedBytes)} in use of ${formatBytes(ramBytes)}; write-log: ${writeLog}, ${writeLogReason}`;
}

/** What preflight found, for people. */
export function preflightSummary({ vm, from, to, ok, findings }: PreflightReport): string {
  const verdict = ok
    ? `${vm} can move from ${from} to ${to}; nothing was changed`
    : `${vm} can't move from ${from} to ${to}; nothing was changed`;
  return [...findingLines(findings), verdict].join('\n');
}
