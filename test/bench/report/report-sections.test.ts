import t from 'tap';
import type { ConcurrentReport, LinkReport, Move, MoveReport } from '../../../scripts/bench/bench-report.js';
import { reportSections } from '../../../scripts/bench/report/report-sections.js';
import type { Section } from '../../../scripts/bench/report/section.js';
import {
  cappedLinkSample,
  compareSample,
  concurrentSample,
  linkSample,
  migrateSample,
  sampleMove,
  scaleSample,
  type MoveTraits,
} from '../../support/bench-samples.js';

/** A row of a section's table as an object; of columns with the same heading, the first. */
function row({ table }: Section, name: string): Record<string, string> {
  const cells = table.rows.find(([first]) => first === name) ?? [];
  return Object.fromEntries(
    table.columns.map(({ heading }, column) => [heading, cells[column] ?? ''] as const).reverse(),
  );
}

function only(sections: readonly Section[]): Section {
  const [section] = sections;
  if (!section || sections.length > 1) throw new Error(`${sections.length} sections`);
  return section;
}

const bars = ({ figures }: Section, heading: string) => {
  const plot = figures.find((figure) => figure.heading === heading)?.plot;
  return plot?.kind === 'bars' ? plot : undefined;
};

await t.test('link: rates beside those of iperf3 in the same turns', (t) => {
  const report: LinkReport = {
    ...linkSample(),
    series: [
      { name: 'vmferry', runs: [2e9, 4e9, 3e9] },
      { name: 'iperf3, default block', runs: [1e9, 4e9, 2e9] },
    ],
  };
  const section = only(reportSections(report));
  t.match(row(section, 'vmferry'), { rate: '3.00 GB/s', 'min to max': '2.00 to 4.00 GB/s' });
  // 2, 1 and 1.5
  t.equal(row(section, 'iperf3, default block')['vmferry to it'], '1.50');
  t.match(bars(section, 'Rate'), {
    axis: 'rate, GB/s',
    bars: [
      { label: ['vmferry', '3.00 GB/s'], value: 3, runs: [2, 4, 3], tone: 'main' },
      { label: ['iperf3, default block', '2.00 GB/s'], value: 2, runs: [1, 4, 2], tone: 'other' },
    ],
  });
  t.same(bars(section, 'Ratio of vmferry')?.bars[0]?.runs, [2, 1, 1.5]);
  t.notOk(section.table.columns.some(({ heading }) => heading === "of the link's cap"));
  t.end();
});

await t.test('link: what a cap leaves unused', (t) => {
  const section = only(reportSections(cappedLinkSample()));
  t.equal(row(section, 'vmferry')["of the link's cap"], '97.8 %');
  t.end();
});

await t.test('link: iperf3 alone has nothing to be compared with', (t) => {
  const { series, ...setting } = linkSample();
  const section = only(reportSections({ ...setting, series: series.slice(1) }));
  t.equal(section.figures.length, 1);
  t.same(section.notes, []);
  t.end();
});

function compared(of: Readonly<Record<string, readonly MoveTraits[]>>): MoveReport {
  return {
    ...compareSample(),
    series: Object.entries(of).map(([mover, runs]) => ({
      mover,
      guest: 'qemu 1 GiB',
      memoryBytes: 2 ** 30,
      workload: 'idle',
      linkBytesPerSecond: null,
      runs: runs.map(sampleMove),
    })),
  };
}

await t.test('compare: each figure beside the best of the others', (t) => {
  const section = only(
    reportSections(
      compared({
        vmferry: [
          { totalMs: 400, downtimeMs: 8, workKept: 0.9 },
          { totalMs: 500, downtimeMs: 4, workKept: 0.9 },
          { totalMs: 450, downtimeMs: 6, workKept: 0.9 },
        ],
        'QEMU precopy': [
          { totalMs: 2000, downtimeMs: 8, workKept: 0.6 },
          { totalMs: 2000, downtimeMs: 8, workKept: 0.6 },
          { totalMs: 2000, downtimeMs: 8, workKept: 0.6 },
        ],
        'QEMU multifd 4': [
          { totalMs: 1000, downtimeMs: 12, workKept: 0.45 },
          { totalMs: 1000, downtimeMs: 12, workKept: 0.45 },
          { totalMs: 1000, downtimeMs: 12, workKept: 0.45 },
        ],
      }),
    ),
  );
  t.equal(section.heading, 'qemu 1 GiB, idle, link without a cap');
  const ratios = (mover: string) => {
    const cells = section.table.rows.find(([name]) => name === mover) ?? [];
    return section.table.columns.flatMap(({ heading }, column) =>
      heading === 'ratio' ? [cells[column]] : [],
    );
  };
  // total, downtime, work kept, on the wire
  t.same(ratios('vmferry'), ['0.45', '0.75', '1.50', '1.00']);
  t.same(ratios('QEMU precopy'), ['2.00', '1.00', '1.00', '1.00']);
  t.same(ratios('QEMU multifd 4'), ['1.00', '1.50', '0.75', '1.00']);
  t.match(row(section, 'vmferry'), { total: '450 ms', 'min to max': '400 to 500 ms', downtime: '6.0 ms' });
  t.match(bars(section, 'Total time'), {
    axis: 'total, s',
    bars: [{ value: 0.45 }, { value: 2 }, { value: 1 }],
  });
  t.match(bars(section, 'Work rate of the guest'), { axis: 'work kept, % of before', bars: [{ value: 90 }] });
  t.end();
});

await t.test('compare: a section for each guest, workload and link', (t) => {
  const sections = reportSections(compareSample());
  t.same(
    sections.map(({ heading }) => heading),
    [
      'qemu 1 GiB, idle, link without a cap',
      'qemu 1 GiB, rewrite 8 MiB, link without a cap',
      'qemu 1 GiB, rewrite 8 MiB, 1 Gbit/s',
    ],
  );
  const [idle, , capped] = sections;
  t.ok(idle && !bars(idle, 'Work rate of the guest'), 'no plot of what no guest tells');
  // 4.39 s for 500 MiB at 125 MB/s
  t.equal(capped && row(capped, 'vmferry')['to least time'], '1.05');
  t.end();
});

await t.test('migrate: the workloads of one mover beside each other', (t) => {
  const sections = reportSections(migrateSample());
  t.same(
    sections.map(({ heading }) => heading),
    ['qemu 1 GiB, vmferry, link without a cap', 'embedded 256 MiB, vmferry, link without a cap'],
  );
  const [qemu] = sections;
  t.equal(qemu && row(qemu, 'idle')['work kept'], '–');
  t.notOk(qemu?.table.columns.some(({ heading }) => heading === 'ratio'));
  t.same(
    qemu?.figures.map(({ table }) => table.rows.length),
    [5, 5, 5, 5, 5],
  );
  t.end();
});

await t.test('a series without runs has no figures, and spoils none', (t) => {
  const section = only(
    reportSections(compared({ vmferry: [], 'QEMU precopy': [{ totalMs: 2000, downtimeMs: 8 }] })),
  );
  t.match(row(section, 'vmferry'), { total: '–', 'min to max': '–', ratio: '–' });
  t.equal(bars(section, 'Total time')?.bars[0]?.value, null);
  t.end();
});

await t.test('concurrent: at once beside sequential', (t) => {
  const run = (totalMs: number, downtimesMs: number[], convergenceFailures: number) => ({
    totalMs,
    wireBytes: totalMs * 2 ** 20,
    downtimesMs,
    convergenceFailures,
  });
  const report: ConcurrentReport = {
    ...concurrentSample(),
    series: [
      {
        guests: 2,
        workload: 'rewrite',
        order: 'at once',
        runs: [run(300, [40, 60], 1), run(500, [50, 90], 2)],
      },
      {
        guests: 2,
        workload: 'rewrite',
        order: 'sequential',
        runs: [run(100, [20, 30], 0), run(250, [30, 40], 0)],
      },
    ],
  };
  const section = only(reportSections(report));
  t.match(row(section, 'at once'), {
    total: '400 ms',
    ratio: '2.50',
    downtimes: '120 ms',
    longest: '75.0 ms',
    'not converged': '3 of 4',
  });
  t.match(row(section, 'sequential'), { total: '175 ms', ratio: '1.00', 'not converged': '0 of 4' });
  t.same(
    bars(section, 'Migrations that did not converge')?.bars.map(({ value }) => value),
    [75, 0],
  );
  t.end();
});

await t.test('scale: against memory, and against what is populated', (t) => {
  const [memory, populated, ...rest] = reportSections(scaleSample());
  t.same(rest, []);
  const plot = memory?.figures[0]?.plot;
  t.match(plot, { kind: 'lines', axis: 'total, s', across: 'memory, GiB' });
  t.match(plot?.kind === 'lines' && plot.lines, [
    { name: 'vmferry', medians: [{ x: 1 }, { x: 2 }, { x: 4 }, { x: 8, y: 0.472 }] },
    { name: 'QEMU precopy', medians: [{ x: 1 }, { x: 2 }, { x: 4 }, { x: 8, y: 5 }] },
  ]);
  t.equal(plot?.kind === 'lines' && plot.lines[0]?.runs.length, 20);
  t.match(memory?.notes[0], 'idle, 400 MiB filled, link without a cap');
  t.same(memory?.table.rows.at(3)?.slice(0, 5), ['vmferry', '8.0 GiB', '472 ms', '444 to 529 ms', '1.15']);
  t.same(
    populated?.table.rows.map(([size]) => size),
    ['528 MiB', '928 MiB', '1.7 GiB', '3.3 GiB', '6.4 GiB'],
  );
  const parts = memory?.figures.at(-1)?.plot;
  t.same(parts?.kind === 'lines' && parts.lines.map(({ name }) => name), [
    'pause',
    'residual',
    'state',
    'load',
    'resume',
  ]);
  t.end();
});

await t.test('scale: where nothing was varied, moves like any others', (t) => {
  const { series, ...setting } = scaleSample();
  const section = only(reportSections({ ...setting, series: series.slice(0, 1) }));
  t.equal(section.heading, 'qemu 1 GiB, vmferry, link without a cap');
  t.end();
});

await t.test('work that was not done before a move says nothing of what was kept', (t) => {
  const move: Move = {
    ...sampleMove({ totalMs: 400, downtimeMs: 8 }),
    workPerSecond: { before: 0, during: 0, after: 0 },
  };
  const report = compared({ vmferry: [], other: [] });
  const section = only(
    reportSections({ ...report, series: report.series.map((each) => ({ ...each, runs: [move] })) }),
  );
  t.notOk(section.table.columns.some(({ heading }) => heading === 'work kept'));
  t.end();
});
