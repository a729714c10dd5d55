import { formatRate } from '../../../shared/units.js';
import type { LinkReport } from '../bench-report.js';
import { median } from '../median.js';
import { plainUnit, rateUnit } from './axis-unit.js';
import {
  barFigure,
  formatRange,
  formatRatio,
  known,
  ratios,
  rowMedian,
  type Measure,
  type Row,
} from './measure.js';
import { isOurs } from './move-measures.js';
import type { Section } from './section.js';

const RATE: Measure<number> = {
  name: 'rate',
  of: (rate) => rate,
  format: formatRate,
  unit: rateUnit,
  tells: ['range'],
};

const RATIO: Measure<number | null> = {
  name: 'ratio',
  of: (ratio) => ratio,
  format: formatRatio,
  unit: plainUnit(''),
  tells: [],
};

/** How fast pages got from memory to memory, beside what else the same link carried in the same turns. */
export function linkSections({ series, link }: LinkReport): Section[] {
  const rows = series.map(({ name, runs }): Row<number> => ({
    name,
    runs,
    tone: isOurs(name) ? 'main' : 'other',
  }));
  const ours = rows.find(({ name }) => isOurs(name));
  const others = rows.filter(({ name }) => !isOurs(name));
  const cap = link.bytesPerSecond;
  const compared = ours
    ? others.map((row): Row<number | null> => ({
        name: `to ${row.name}`,
        runs: ratios(ours, row, RATE.of),
        tone: 'main',
      }))
    : [];
  return [
    {
      heading: 'Rate from memory to memory',
      notes: ours
        ? [
            `The ratio is that of ${ours.name} to each row: the median of the ratios of all turns; above 1 ${ours.name} is the faster one.`,
          ]
        : [],
      table: {
        caption: `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} turns`,
        columns: [
          { heading: '' },
          { heading: 'rate', figures: true },
          { heading: 'min to max', figures: true },
          ...(ours ? [{ heading: `${ours.name} to it`, figures: true }] : []),
          ...(cap === null ? [] : [{ heading: "of the link's cap", figures: true }]),
        ],
        rows: rows.map((row) => [
          row.name,
          formatRate(rowMedian(row, RATE)),
          formatRange(known(row, RATE), formatRate),
          ...(ours ? [formatRatio(median(ratios(ours, row, RATE.of).filter((each) => each !== null)))] : []),
          ...(cap === null ? [] : [`${((100 * rowMedian(row, RATE)) / cap).toFixed(1)} %`]),
        ]),
      },
      figures: [
        barFigure('Rate', rows, RATE),
        ...(ours && compared.length > 0 ? [barFigure(`Ratio of ${ours.name}`, compared, RATIO)] : []),
      ],
    },
  ];
}
