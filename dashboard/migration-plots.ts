import type { MigrationResult } from '../shared/api.js';
import { PAGE_SIZE } from '../shared/page.js';
import { formatBytes, formatDuration, formatRate } from '../shared/units.js';
import { axis, type Colours, type Dataset, legend, OPTIONS, type Plot, type Point } from './chart-plot.js';
import type { MigrationTrace } from './migration-trace.js';

/** Ticks of an axis of bytes, at most. */
const BYTE_TICKS = 6;

/**
 * What is left to copy as each round begins, and how much of it the downtime limit allows: the migration is done when the one comes
 * below the other.
 */
export function residualPlot(trace: MigrationTrace): Plot {
  const points = residuals(trace);
  const { thresholdBytes, switchoverRound } = trace;
  const told = points.map(({ x, y }) => `round ${x}: ${formatBytes(y)}`);
  const fits = thresholdBytes === null ? '' : `; ${formatBytes(thresholdBytes)} fit the downtime limit`;
  return {
    label: `Left to copy as each round begins. ${told.join(', ') || 'Nothing is known yet'}${fits}.`,
    configuration: (colours) => ({
      data: {
        datasets: [
          line('left to copy', colours.main, {
            data: points.map(({ x, y }) => ({ x, y: Math.max(y, PAGE_SIZE) })),
            pointStyle: points.map(({ x }) => (x === switchoverRound ? 'rectRot' : 'circle')),
            pointRadius: points.map(({ x }) => (x === switchoverRound ? 7 : 4)),
            pointBackgroundColor: points.map(({ x }) =>
              x === switchoverRound ? colours.mark : colours.main,
            ),
            pointBorderColor: points.map(({ x }) => (x === switchoverRound ? colours.mark : colours.main)),
          }),
          ...(thresholdBytes === null || thresholdBytes < 1
            ? []
            : [
                line('fits the downtime limit', colours.text, {
                  data: [0, lastRound(trace)].map((x) => ({ x, y: thresholdBytes })),
                  pointStyle: 'line',
                  pointRadius: 0,
                  borderWidth: 1.5,
                  borderDash: [6, 4],
                }),
              ]),
          ...(switchoverRound === null ? [] : [key('switchover', colours.mark, 'rectRot')]),
        ],
      },
      options: {
        ...OPTIONS,
        scales: {
          x: rounds(trace, colours),
          y: {
            type: 'logarithmic',
            min: PAGE_SIZE,
            max:
              2 **
              Math.ceil(Math.log2(Math.max(2 * PAGE_SIZE, thresholdBytes ?? 0, ...points.map(({ y }) => y)))),
            ...axis(null, colours),
            afterBuildTicks: (scale) => {
              scale.ticks = powers(scale.min, scale.max).map((value) => ({ value }));
            },
            ticks: { color: colours.text, callback: (value) => formatBytes(Number(value)) },
          },
        },
        plugins: {
          legend: legend(colours),
          tooltip: {
            callbacks: {
              label: ({ dataset, datasetIndex, dataIndex, parsed }) =>
                `${dataset.label ?? ''}: ${formatBytes((datasetIndex === 0 && points[dataIndex]?.y) || (parsed.y ?? 0))}`,
              title: ([item]) => `round ${item?.parsed.x ?? ''}`,
            },
          },
        },
      },
    }),
  };
}

/** What the link carried and what the guest wrote in each round: where the second is as high as the first, rounds don't help. */
export function ratePlot(trace: MigrationTrace): Plot {
  const { rounds: copied, progress, switchoverRound } = trace;
  const written = copied.filter(({ round }) => round !== switchoverRound);
  const told = copied.map(({ round, bytesPerSecond, dirtyPagesPerSecond }) => {
    const dirty =
      round === switchoverRound ? 'the VM paused' : `${formatRate(dirtyPagesPerSecond * PAGE_SIZE)} written`;
    return `round ${round}: ${formatRate(bytesPerSecond)} copied, ${dirty}`;
  });
  const now: Point[] = progress ? [{ x: progress.round, y: progress.bytesPerSecond }] : [];
  return {
    label: `Rates by round. ${told.join('; ') || 'Nothing is known yet'}.`,
    configuration: (colours) => ({
      data: {
        datasets: [
          line('copied', colours.main, {
            data: copied.map(({ round, bytesPerSecond }) => ({ x: round, y: bytesPerSecond })),
            pointStyle: 'circle',
          }),
          line('written by the VM', colours.mark, {
            data: written.map((each) => ({ x: each.round, y: each.dirtyPagesPerSecond * PAGE_SIZE })),
            pointStyle: 'triangle',
            pointRadius: 6, // where both are one, it stands out
            order: -1,
          }),
          ...(now.length === 0
            ? []
            : [
                line('copied at present', colours.main, {
                  data: now,
                  pointRadius: 6,
                  pointStyle: 'circle',
                  pointBackgroundColor: colours.panel,
                }),
              ]),
        ],
      },
      options: {
        ...OPTIONS,
        scales: {
          x: rounds(trace, colours),
          y: {
            type: 'linear',
            beginAtZero: true,
            ...axis(null, colours),
            ticks: { color: colours.text, maxTicksLimit: 6, callback: (value) => formatRate(Number(value)) },
          },
        },
        plugins: {
          legend: legend(colours),
          tooltip: {
            callbacks: {
              label: ({ dataset, parsed }) => `${dataset.label ?? ''}: ${formatRate(parsed.y ?? 0)}`,
              title: ([item]) => `round ${item?.parsed.x ?? ''}`,
            },
          },
        },
      },
    }),
  };
}

/** The parts of a downtime, in the order of time. */
export function downtimeParts({ downtime }: MigrationResult): readonly (readonly [string, number])[] {
  const { pauseMs, residualMs, stateMs, verifyMs, loadMs, resumeMs } = downtime;
  return [
    ['pause', pauseMs],
    ['residual', residualMs],
    ['state', stateMs],
    ...(verifyMs > 0 ? [['verify', verifyMs] as const] : []),
    ['load', loadMs],
    ['resume', resumeMs],
  ];
}

export function switchoverPlot(result: MigrationResult): Plot {
  const parts = downtimeParts(result);
  const told = parts.map(([name, ms]) => `${name} ${formatDuration(ms)}`).join(', ');
  return {
    label: `The switchover: ${formatDuration(result.downtimeMs)} of downtime: ${told}.`,
    configuration: (colours) => ({
      data: {
        labels: [''],
        datasets: parts.map(([name, ms], part): Dataset => ({
          type: 'bar',
          label: `${name} ${formatDuration(ms)}`,
          data: [ms],
          backgroundColor: colours.parts[part % colours.parts.length] ?? colours.main,
          borderColor: colours.panel,
          borderWidth: { left: 0, right: 1, top: 0, bottom: 0 },
          borderSkipped: false,
        })),
      },
      options: {
        ...OPTIONS,
        indexAxis: 'y',
        scales: {
          x: {
            stacked: true,
            ...axis('since the pause', colours),
            ticks: { color: colours.text, maxTicksLimit: 6, callback: (value) => `${Number(value)} ms` },
          },
          y: { stacked: true, display: false },
        },
        plugins: {
          legend: legend(colours),
          tooltip: { callbacks: { label: ({ dataset }) => dataset.label ?? '' } },
        },
      },
    }),
  };
}

/** Round 0 begins with all that is populated, each later one with what the harvest before it has found. */
function residuals({
  rounds: copied,
  switchoverRound,
  progress,
  result,
}: MigrationTrace): { x: number; y: number }[] {
  const points = copied.map(({ round, pages }) => ({ x: round, y: pages * PAGE_SIZE }));
  const last = copied.at(-1);
  if (!last && progress) return [{ x: progress.round, y: progress.pagesTotal * PAGE_SIZE }];
  // The last one with the guest paused leaves nothing, and no round comes after the end.
  if (last && !result && last.round !== switchoverRound)
    points.push({ x: last.round + 1, y: last.residualPages * PAGE_SIZE });
  return points;
}

function lastRound(trace: MigrationTrace): number {
  return Math.max(1, ...residuals(trace).map(({ x }) => x));
}

function rounds(trace: MigrationTrace, colours: Colours) {
  const base = axis('round', colours);
  return {
    type: 'linear' as const,
    min: 0,
    max: lastRound(trace),
    ...base,
    ticks: { ...base.ticks, precision: 0, maxTicksLimit: 12 },
  };
}

function line(label: string, colour: string, more: Partial<Dataset> & { data: Point[] }): Dataset {
  return {
    type: 'scatter',
    // points at the edge of the plot are whole
    clip: false,
    label,
    showLine: true,
    borderColor: colour,
    backgroundColor: colour,
    borderWidth: 2,
    pointRadius: 4,
    ...more,
  } as Dataset;
}

/** An entry of the legend without points of its own. */
function key(label: string, colour: string, pointStyle: 'rectRot'): Dataset {
  return line(label, colour, { data: [], pointStyle, showLine: false });
}

/** Powers of two from `min` to `max`, so few that their labels have room. */
function powers(min: number, max: number): number[] {
  const first = Math.log2(min);
  const steps = Math.max(1, Math.ceil((Math.log2(max) - first) / BYTE_TICKS));
  const ticks: number[] = [];
  for (let power = first; 2 ** power <= max; power += steps) ticks.push(2 ** power);
  return ticks;
}
