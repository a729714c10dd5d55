import type { RoundResult } from '../../../shared/api.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import { formatBytes, formatDuration, formatRate } from '../../../shared/units.js';
import type { Column } from '../../cli/table.js';
import type { Move, MoveSeries } from '../bench-report.js';
import { median } from '../median.js';
import { bytesUnit, durationUnit, rateUnit, type UnitFor } from './axis-unit.js';
import { axisTitle, NOTHING } from './measure.js';
import { linkName } from './move-sections.js';
import type { ColumnPlot, Pick, PickedRun, Span, SpanPlot } from './page/plots.js';

/** Headings of the plots of a picked migration, in the order of `PickedRun.plots`. */
export const PICKED_PLOTS = {
  rounds: ['Sent in each round', 'Left to send after each round', 'Written by the guest during each round'],
  timeline: 'Time line',
  switchover: 'The switchover, enlarged',
} as const;

/** Columns of the tables of a picked migration, in the order of `PickedRun.tables`. */
export const PICKED_COLUMNS = {
  rounds: [
    { heading: 'round', figures: true },
    { heading: 'began', figures: true },
    { heading: 'time', figures: true },
    { heading: 'sent', figures: true },
    { heading: 'rate', figures: true },
    { heading: 'zero pages', figures: true },
    { heading: 'written by the guest', figures: true },
    { heading: 'left', figures: true },
  ],
  switchover: [{ heading: 'part' }, { heading: 'began', figures: true }, { heading: 'time', figures: true }],
} as const satisfies Record<string, readonly Column[]>;

/** The series that tell rounds, each with its runs; the one to begin with is the run of the median total. */
export function migrationPicks(series: readonly MoveSeries[]): Pick[] {
  return series.flatMap((each) => {
    const runs = each.runs.flatMap((move, number) => (move.rounds.length > 0 ? [{ move, number }] : []));
    if (runs.length === 0) return [];
    const middle = median(runs.map(({ move }) => move.totalMs));
    const distance = ({ move }: { move: Move }) => Math.abs(move.totalMs - middle);
    const first = runs.reduce((best, run, index) => {
      const closest = runs[best];
      return closest && distance(run) < distance(closest) ? index : best;
    }, 0);
    return {
      name: [each.mover, each.guest, each.workload, linkName(each.linkBytesPerSecond)].join(', '),
      first,
      runs: runs.map(({ move, number }, index) =>
        pickedRun(move, `run ${number + 1} of ${each.runs.length}${index === first ? ' (median)' : ''}`),
      ),
    };
  });
}

function pickedRun(move: Move, name: string): PickedRun {
  const { rounds, totalMs, downtimeMs, convergence, intact } = move;
  const ended = convergence === '' ? '' : `, rounds ended: ${convergence}`;
  return {
    name: `${name}: total ${formatDuration(totalMs)}, downtime ${formatDuration(downtimeMs)}${ended}${intact ? '' : ', the guest crashed'}`,
    plots: [
      roundPlot(rounds, 'sent', ({ wireBytes }) => wireBytes, bytesUnit),
      roundPlot(rounds, 'left', leftBytes, bytesUnit),
      roundPlot(rounds, 'written', dirtyRate, rateUnit),
      timeline(move),
      switchover(move),
    ],
    tables: [
      begunRounds(move).map(({ round, began }) => [
        roundName(round, rounds),
        formatDuration(began),
        formatDuration(round.ms),
        formatBytes(round.wireBytes),
        formatRate(round.bytesPerSecond),
        String(round.zeroPages),
        isSwitchover(round, rounds) ? NOTHING : formatRate(dirtyRate(round)),
        formatBytes(leftBytes(round)),
      ]),
      begunParts(move).map(({ name, began, ms }) => [name, formatDuration(began), formatDuration(ms)]),
    ],
  };
}

function leftBytes({ residualPages }: RoundResult): number {
  return residualPages * PAGE_SIZE;
}

/** bytes/s */
function dirtyRate({ dirtyPagesPerSecond }: RoundResult): number {
  return dirtyPagesPerSecond * PAGE_SIZE;
}

/** The last round is sent while the guest is paused. */
function isSwitchover(round: RoundResult, rounds: readonly RoundResult[]): boolean {
  return rounds.length > 1 && round === rounds.at(-1);
}

function roundName(round: RoundResult, rounds: readonly RoundResult[]): string {
  return isSwitchover(round, rounds) ? `${round.round}, paused` : String(round.round);
}

function roundPlot(
  rounds: readonly RoundResult[],
  name: string,
  of: (round: RoundResult) => number,
  unit: UnitFor,
): ColumnPlot {
  const axis = unit(Math.max(0, ...rounds.map(of)));
  return {
    kind: 'columns',
    axis: axisTitle(name, axis),
    across: 'round',
    columns: rounds.map((round) => ({
      label: String(round.round),
      value: of(round) / axis.size,
      tone: isSwitchover(round, rounds) ? 'mark' : 'main',
    })),
  };
}

/** One round begins when the one before has ended; the last one once the guest is paused. ms from the request */
function begunRounds({
  rounds,
  totalMs,
  copyMs,
  stoppedAfterMs,
}: Move): { round: RoundResult; began: number }[] {
  let began = totalMs - copyMs;
  return rounds.map((round) => {
    const start = isSwitchover(round, rounds) ? stoppedAfterMs : began;
    began += round.ms;
    return { round, began: start };
  });
}

/** One part begins when the one before has ended, and what no part tells is at the end. ms from the pause */
function begunParts({ downtimeMs, downtimeParts }: Move): { name: string; began: number; ms: number }[] {
  let began = 0;
  const parts = Object.entries(downtimeParts).map(([name, ms]) => {
    const part = { name, began, ms };
    began += ms;
    return part;
  });
  const rest = downtimeMs - began;
  // Less than that is rounding.
  return rest > 0.05
    ? [...parts, { name: parts.length === 0 ? 'downtime' : 'other', began, ms: rest }]
    : parts;
}

function timeline(move: Move): SpanPlot {
  const { rounds, totalMs, copyMs, stoppedAfterMs, downtimeMs } = move;
  const unit = durationUnit(totalMs);
  const span = (lane: number, from: number, ms: number, name: string, tone: Span['tone']): Span => ({
    lane,
    from: from / unit.size,
    to: (from + ms) / unit.size,
    name,
    tone,
  });
  const live = begunRounds(move).filter(({ round }) => !isSwitchover(round, rounds));
  return {
    kind: 'spans',
    axis: axisTitle('time since the request', unit),
    lanes: [
      ['preparation', formatDuration(totalMs - copyMs)],
      ['rounds', `${live.length} while it runs`],
      ['switchover', formatDuration(downtimeMs)],
    ],
    spans: [
      span(0, 0, totalMs - copyMs, 'preparation', 'other'),
      ...live.map(({ round, began }) => span(1, began, round.ms, `round ${round.round}`, 'main')),
      span(2, stoppedAfterMs, downtimeMs, 'switchover', 'mark'),
    ],
    mark: { at: stoppedAfterMs / unit.size, name: 'guest paused' },
  };
}

function switchover(move: Move): SpanPlot {
  const { stoppedAfterMs, downtimeMs } = move;
  const parts = begunParts(move);
  const unit = durationUnit(downtimeMs);
  return {
    kind: 'spans',
    axis: axisTitle(`time since the pause at ${formatDuration(stoppedAfterMs)}`, unit),
    lanes: parts.map(({ name, ms }) => [name, formatDuration(ms)]),
    spans: parts.map(({ name, began, ms }, lane) => ({
      lane,
      from: began / unit.size,
      to: (began + ms) / unit.size,
      name,
      tone: 'mark',
    })),
    mark: null,
  };
}
