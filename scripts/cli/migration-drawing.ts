import type { MigrationInfo, MigrationResult, RoundResult } from '../../shared/api.js';
import { forecast } from '../../shared/migration-forecast.js';
import { formatDuration, formatRate } from '../../shared/units.js';
import { bar } from './bars.js';
import { findingLines } from './finding-lines.js';
import { forecastLine, stateLine } from './migration-lines.js';
import { convergenceLines, headline, sentLine, verifyLines } from './migration-summary.js';
import { roundTable } from './round-table.js';
import { formatTable } from './table.js';

/** Characters that the longest bar of a switchover takes. */
const SWITCHOVER_WIDTH = 40;

/** One migration for people, its rounds and its switchover drawn. `width`: of the terminal, in characters. */
export function drawMigration(migration: MigrationInfo, width: number): string {
  const { result, copying, progress } = migration;
  if (result) return drawResult(migration, result, width);
  const { id, vm, from, to, requestedAt } = migration;
  const lines = [
    `migration ${id}: ${vm} from ${from} to ${to}, asked for at ${requestedAt}`,
    stateLine(migration),
  ];
  if (copying && migration.phase === 'copying') lines.push(forecastLine(forecast(copying, progress)));
  if (copying && copying.rounds.length > 0) lines.push('', roundChart(copying.rounds, null, width));
  return lines.join('\n');
}

function drawResult({ requestedAt }: MigrationInfo, result: MigrationResult, width: number): string {
  const { rounds, downtimeMs, error, streams, switchover } = result;
  const lines = [headline(result), `asked for at ${requestedAt}`];
  if (error) lines.push(`error: ${error.message} (${error.code})`);
  // The last round is the switchover's only if it came to that and was sent.
  const last = rounds.at(-1);
  const paused = switchover && last?.residualPages === 0 ? last.round : null;
  if (rounds.length > 0) lines.push('', roundChart(rounds, paused, width), '');
  if (downtimeMs > 0) lines.push(switchoverChart(result), '');
  lines.push(...convergenceLines(result));
  if (streams) lines.push(...streamLines(streams));
  if (rounds.length > 0) lines.push(sentLine(result));
  lines.push(...verifyLines(result));
  return lines.join('\n');
}

/** A line and a bar for each round, as long as the pages that it copied; the next one shows what it left. */
function roundChart(rounds: readonly RoundResult[], paused: number | null, width: number): string {
  const most = Math.max(...rounds.map(({ pages }) => pages));
  const [heading = '', ...lines] = roundTable(rounds).split('\n');
  const room = Math.max(10, Math.min(60, width - heading.length - ' (paused)'.length - 3));
  const drawn = [heading];
  let next = rounds[0]?.round ?? 0;
  for (const [index, { round, pages }] of rounds.entries()) {
    // Of many rounds the latest alone are kept.
    if (round > next) drawn.push('    …');
    next = round + 1;
    const copied = bar(most === 0 ? 0 : pages / most, room);
    drawn.push(`${lines[index]}  ${copied}${round === paused ? ' (paused)' : ''}`.trimEnd());
  }
  return drawn.join('\n');
}

/** Its parts, one after the other, each where it was. */
function switchoverChart({ downtimeMs, downtime, switchover }: MigrationResult): string {
  const parts = [
    ['pause', downtime.pauseMs],
    ['residual', downtime.residualMs],
    ['state', downtime.stateMs],
    ...(downtime.verifyMs > 0 ? [['verify', downtime.verifyMs] as const] : []),
    ['load', downtime.loadMs],
    ['resume', downtime.resumeMs],
  ] as const;
  const place = (ms: number) => Math.round((SWITCHOVER_WIDTH * ms) / Math.max(downtimeMs, 1e-9));
  let before = 0;
  const rows = parts.map(([name, ms]) => {
    const start = Math.min(place(before), SWITCHOVER_WIDTH - 1);
    before += ms;
    const length = ms > 0 ? Math.max(1, Math.min(place(before), SWITCHOVER_WIDTH) - start) : 0;
    return ['', name, formatDuration(ms), ' '.repeat(start) + '█'.repeat(length)];
  });
  const [, ...lines] = formatTable(
    [{ heading: '' }, { heading: '' }, { heading: '', figures: true }, { heading: '' }],
    rows,
  ).split('\n');
  const at = switchover ? `, from ${new Date(switchover.stoppedAt).toISOString()} on` : '';
  return [`downtime ${formatDuration(downtimeMs)}${at}`, ...lines].join('\n');
}

function streamLines({
  transport,
  open,
  used,
  reason,
  tried,
  finding,
}: NonNullable<MigrationResult['streams']>): string[] {
  const tries = tried.map(({ streams, bytesPerSecond }) => `${streams}: ${formatRate(bytesPerSecond)}`);
  return [
    `page streams: ${used} of ${open} over ${transport}; ${reason}${tries.length > 0 ? ` (tried ${tries.join(', ')})` : ''}`,
    ...(finding ? findingLines([finding]) : []),
  ];
}
