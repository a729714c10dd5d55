import { formatBytes, formatDuration } from '../../shared/units.js';
import {
  type AxisUnit,
  bytesUnit,
  durationUnit,
  plainUnit,
  type UnitFor,
} from '../bench/report/axis-unit.js';
import { axisTitle, formatRatio, type Measure, type Row, summaryTable } from '../bench/report/measure.js';
import type { Figure, Section } from '../bench/report/section.js';
import type { PolicyFigures, SimulationReport, SweepPoint } from './simulation-report.js';

type PolicyMeasure = Measure<PolicyFigures>;

const duration = (
  name: string,
  of: PolicyMeasure['of'],
  tells: PolicyMeasure['tells'] = [],
): PolicyMeasure => ({
  name,
  of,
  format: formatDuration,
  unit: durationUnit,
  tells,
});

const TOTAL = duration('total', ({ totalMs }) => totalMs, ['ratio']);
const SENT: PolicyMeasure = {
  name: 'sent',
  of: ({ wireBytes }) => wireBytes,
  format: formatBytes,
  unit: bytesUnit,
  tells: ['ratio'],
};
const NOT_CONVERGED: PolicyMeasure = {
  name: 'not converged',
  of: ({ notConverged, migrations }) => (migrations === 0 ? null : (100 * notConverged) / migrations),
  format: (percent) => `${percent.toFixed(1)} %`,
  unit: plainUnit('%'),
  tells: [],
};
const NOT_MOVED: PolicyMeasure = {
  name: 'not moved',
  of: ({ notMoved }) => notMoved,
  format: String,
  unit: plainUnit(''),
  tells: [],
};
const MIGRATION = duration('a migration', ({ migrationMs }) => migrationMs.median);
const DOWNTIME = duration('downtime', ({ downtimeMs }) => downtimeMs.median);
const DOWNTIME_99 = duration('99 of 100', ({ downtimeMs }) => downtimeMs.percentile99);
const LONGEST = duration('longest', ({ downtimeMs }) => downtimeMs.longest, ['ratio']);

export function policyName({ atOnce }: Pick<PolicyFigures, 'atOnce'>): string {
  return atOnce === null ? 'one at a time' : `${atOnce} at once`;
}

/** What a simulation tells: for a terminal its tables, for a page the plots too. */
export function simulationSections(report: SimulationReport): Section[] {
  const { policies, sweep, cluster } = report;
  const rows = policies.map((figures): Row<PolicyFigures> => ({
    name: policyName(figures),
    runs: [figures],
    tone: figures.atOnce === null ? 'main' : 'other',
  }));
  const migrations = policies[0]?.migrations ?? 0;
  const asTheyAre: Section = {
    heading: 'The guests as they are',
    notes: [
      `${migrations} migrations; a guest writes at ${formatRatio(cluster.dirtyRatio)} of the rate of a link on the average. Ratios are to one at a time.`,
    ],
    table: summaryTable(
      'Total: until the last guest runs on its target. A migration, downtime: medians of all migrations',
      'moved',
      rows,
      [TOTAL, SENT, NOT_CONVERGED, NOT_MOVED, MIGRATION, DOWNTIME, DOWNTIME_99, LONGEST],
      () => rows[0],
    ),
    figures: [
      barsOf('Total time', rows, TOTAL),
      barsOf('Sent', rows, SENT),
      barsOf('Migrations that did not converge', rows, NOT_CONVERGED),
      barsOf('Longest downtime', rows, LONGEST),
    ],
  };
  return sweep.length === 0 ? [asTheyAre] : [asTheyAre, sweepSection(sweep)];
}

function barsOf(heading: string, rows: readonly Row<PolicyFigures>[], measure: PolicyMeasure): Figure {
  const values = rows.map(({ runs: [figures] }) => (figures ? (measure.of(figures) ?? 0) : 0));
  const unit = measure.unit(Math.max(0, ...values));
  const texts = values.map((value) => measure.format(value));
  return {
    heading,
    plot: {
      kind: 'bars',
      axis: axisTitle(measure.name, unit),
      cross: '',
      bars: rows.map(({ name, tone }, row) => ({
        label: [name, texts[row] ?? ''],
        value: (values[row] ?? 0) / unit.size,
        runs: [],
        crosses: [],
        tone,
      })),
    },
    table: {
      caption: heading,
      columns: [{ heading: 'moved' }, { heading: measure.name, figures: true }],
      rows: rows.map(({ name }, row) => [name, texts[row] ?? '']),
    },
  };
}

interface SweepMeasure {
  readonly heading: string;
  readonly axis: string;
  readonly of: (figures: PolicyFigures, oneAtATime: PolicyFigures) => number;
  readonly unit: UnitFor;
  readonly format: (value: number) => string;
}

const TOTAL_RATIO: SweepMeasure = {
  heading: 'Total time, to one at a time',
  axis: 'total time, to one at a time',
  of: ({ totalMs }, one) => totalMs / one.totalMs,
  unit: plainUnit(''),
  format: formatRatio,
};

const SWEPT: readonly SweepMeasure[] = [
  TOTAL_RATIO,
  {
    heading: 'Sent, to what is populated',
    axis: 'sent, to what is populated',
    of: ({ wireBytes, populatedBytes }) => wireBytes / populatedBytes,
    unit: plainUnit(''),
    format: formatRatio,
  },
  {
    heading: 'Migrations that did not converge',
    axis: 'not converged',
    of: notConverged,
    unit: plainUnit('%'),
    format: NOT_CONVERGED.format,
  },
  {
    heading: 'Downtime that 99 of 100 migrations stay below',
    axis: 'downtime',
    of: ({ downtimeMs }) => downtimeMs.percentile99,
    unit: durationUnit,
    format: formatDuration,
  },
  {
    heading: 'Total time',
    axis: 'total time',
    of: ({ totalMs }) => totalMs,
    unit: durationUnit,
    format: formatDuration,
  },
];

const ACROSS = 'write rate of a guest, to the rate of a link';

function sweepSection(sweep: readonly SweepPoint[]): Section {
  const names = sweep[0]?.policies.map(policyName) ?? [];
  const others = names.slice(1);
  return {
    heading: 'Guests that write more or less',
    notes: [
      'All guests write so many times as fast that their average is at this part of the rate of a link; their working sets stay.',
      'A cross: not all migrations converged. A limit ends those: that may take less time, and costs downtimes of seconds.',
      ...verdicts(sweep),
    ],
    table: {
      caption:
        'Total time of one at a time, and of the others as a part of it; in brackets the migrations that did not converge',
      columns: [{ heading: 'writes to link' }, ...names.map((heading) => ({ heading, figures: true }))],
      rows: sweep.map(({ dirtyRatio, policies }) => [
        formatRatio(dirtyRatio),
        ...policies.map((figures) => {
          const time =
            figures.atOnce === null
              ? formatDuration(figures.totalMs)
              : formatRatio(TOTAL_RATIO.of(figures, policies[0]!));
          const failed = notConverged(figures);
          return failed === 0 ? time : `${time} (${NOT_CONVERGED.format(failed)})`;
        }),
      ]),
    },
    figures: SWEPT.map((measure) => sweepFigure(sweep, others, measure)),
  };
}

function sweepFigure(
  sweep: readonly SweepPoint[],
  others: readonly string[],
  { heading, axis, of, unit, format }: SweepMeasure,
): Figure {
  const names = ['one at a time', ...others];
  const value = (point: SweepPoint, policy: number) => of(point.policies[policy]!, point.policies[0]!);
  const largest = Math.max(0, ...sweep.flatMap((point) => names.map((_, policy) => value(point, policy))));
  const size: AxisUnit = unit(largest);
  return {
    heading,
    plot: {
      kind: 'lines',
      axis: axisTitle(axis, size),
      across: ACROSS,
      cross: 'not all converged',
      lines: names.map((name, policy) => {
        const points = sweep.map((point) => ({ x: point.dirtyRatio, y: value(point, policy) / size.size }));
        const failing = points.filter((_, index) => notConverged(sweep[index]!.policies[policy]!) > 0);
        return { name, medians: points, runs: failing, crosses: [...failing.keys()] };
      }),
    },
    table: {
      caption: heading,
      columns: [{ heading: 'writes to link' }, ...names.map((name) => ({ heading: name, figures: true }))],
      rows: sweep.map((point) => [
        formatRatio(point.dirtyRatio),
        ...names.map((_, policy) => format(value(point, policy))),
      ]),
    },
  };
}

/** Less than this is no difference: the rest of a migration's time is not known as well. */
const NO_DIFFERENCE = 0.02;

/** Where more than these don't converge, less time is no gain: a limit has ended them. % */
const FEW_FAILURES = 1;

/** When one at a time is right, and by how much, beside each number at once. */
export function verdicts(sweep: readonly SweepPoint[]): string[] {
  const others = sweep[0]?.policies.slice(1) ?? [];
  return others.map((other, index) => {
    const points = sweep.map(({ dirtyRatio, policies }) => {
      const [one, figures] = [policies[0]!, policies[index + 1]!];
      const fails = notConverged(figures) > FEW_FAILURES;
      return { at: formatRatio(dirtyRatio), time: TOTAL_RATIO.of(figures, one), fails, figures };
    });
    const gains = points.filter(({ time, fails }) => time < 1 - NO_DIFFERENCE && !fails);
    const failing = points.find(({ fails }) => fails);
    const worst = points.reduce((a, b) => (b.time > a.time ? b : a));
    const least = gains.reduce((a, b) => Math.min(a, b.time), Infinity);
    const words = [
      gains.length === 0
        ? 'never less time than one at a time, but where migrations do not converge'
        : `less time than one at a time up to writes at ${gains.at(-1)!.at} of the link, ${formatRatio(least)} of it at best`,
      ...(worst.time > 1 + NO_DIFFERENCE
        ? [`at worst ${formatRatio(worst.time)} of its time, at ${worst.at}`]
        : []),
      ...(failing
        ? [
            `from ${failing.at} on migrations do not converge (${NOT_CONVERGED.format(notConverged(failing.figures))} there)`,
          ]
        : []),
    ];
    return `${policyName(other)}: ${words.join('; ')}.`;
  });
}

function notConverged(figures: PolicyFigures): number {
  return NOT_CONVERGED.of(figures) ?? 0;
}
