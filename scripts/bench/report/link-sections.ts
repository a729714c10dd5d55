import { formatRate } from '../../../shared/units.js';
import type { LinkReport, LinkSeries } from '../bench-report.js';
import { plainUnit, rateUnit } from './axis-unit.js';
import { groupBy } from './group-by.js';
import { barFigure, formatRatio, ratio, ratios, summaryTable, type Measure, type Row } from './measure.js';
import { isOurs } from './move-measures.js';
import { linkName } from './move-sections.js';
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

function shareOf(cap: number): Measure<number> {
  return {
    name: 'of the cap',
    of: (rate) => (100 * rate) / cap,
    format: (percent) => `${percent.toFixed(1)} %`,
    unit: plainUnit('%'),
    tells: [],
  };
}

/** How fast pages got from memory to memory, beside what else the same link carried in the same turns: a section for each cap. */
export function linkSections({ series }: LinkReport): Section[] {
  return [...groupBy(series, ({ linkBytesPerSecond }) => String(linkBytesPerSecond)).values()].map((group) =>
    linkSection(group, group[0]?.linkBytesPerSecond ?? null),
  );
}

function linkSection(series: readonly LinkSeries[], cap: number | null): Section {
  const rows = series.map(({ name, runs }): Row<number> => ({
    name,
    runs,
    tone: isOurs(name) ? 'main' : 'other',
  }));
  const ours = rows.filter(({ name }) => isOurs(name));
  const others = ours.length > 0 ? rows.filter(({ name }) => !isOurs(name)) : [];
  const share = cap === null ? [] : [shareOf(cap)];
  const table = summaryTable(
    `Medians of ${Math.max(0, ...rows.map(({ runs }) => runs.length))} turns`,
    '',
    rows,
    [RATE, ...share],
    () => undefined,
  );
  return {
    heading: cap === null ? 'Link without a cap' : `Link of ${linkName(cap)}`,
    notes:
      others.length > 0
        ? [
            'Ratios are medians of the ratios of all turns; above 1 the row is faster than what it is compared with.',
          ]
        : [],
    table: {
      ...table,
      columns: [...table.columns, ...others.map(({ name }) => ({ heading: `to ${name}`, figures: true }))],
      rows: table.rows.map((cells, line) => [
        ...cells,
        ...others.map((other) => formatRatio(rows[line] ? ratio(rows[line], other, RATE) : NaN)),
      ]),
    },
    figures: [
      barFigure('Rate', rows, RATE),
      ...share.map((measure) => barFigure('Share of the cap', rows, measure)),
      ...others.map((other) =>
        barFigure(
          `Ratio to ${other.name}`,
          ours.map((row): Row<number | null> => ({
            name: row.name,
            runs: ratios(row, other, RATE.of),
            tone: row.tone,
          })),
          RATIO,
        ),
      ),
    ],
  };
}
