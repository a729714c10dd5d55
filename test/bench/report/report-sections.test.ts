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

await t.test('link: rates beside those of each iperf3 in the same turns', (t) => {
  const report: LinkReport = {
    ...linkSample(),
    series: [
      { name: 'vmferry, embedded', linkBytesPerSecond: null, runs: [2e9, 4e9, 3e9] },
      { name: 'vmferry, qemu', linkBytesPerSecond: null, runs: [1e9, 1e9, 1e9] },
      { name: 'iperf3, default block', linkBytesPerSecond: null, runs: [1e9, 4e9, 2e9] },
      { name: 'iperf3, 1 MiB block', linkBytesPerSecond: null, runs: [4e9, 4e9, 4e9] },
    ],
  };
  const section = only(reportSections(report));
  t.equal(section.heading, 'Link without a cap');
  // to the default block: 2, 1 and 1.5
  t.match(row(section, 'vmferry, embedded'), {
    rate: '3.00 GB/s',
    'min to max': '2.00 to 4.00 GB/s',
    'to iperf3, default block': '1.50',
    'to iperf3, 1 MiB block': '0.75',
  });
  t.match(row(section, 'vmferry, qemu'), {
    'to iperf3, default block': '0.50',
    'to iperf3, 1 MiB block': '0.25',
  });
  t.match(bars(section, 'Rate'), {
    axis: 'rate, GB/s',
    bars: [
      { label: ['vmferry, embedded', '3.00 GB/s'], value: 3, runs: [2, 4, 3], tone: 'main' },
      { label: ['vmferry, qemu', '1.00 GB/s'], tone: 'main' },
      { label: ['iperf3, default block', '2.00 GB/s'], value: 2, runs: [1, 4, 2], tone: 'other' },
      { tone: 'other' },
    ],
  });
  t.same(
    bars(section, 'Ratio to iperf3, default block')?.bars.map(({ runs }) => runs),
    [
      [2, 1, 1.5],
      [1, 0.25, 0.5],
    ],
  );
  t.notOk(section.table.columns.some(({ heading }) => heading === 'of the cap'));
  t.notOk(bars(section, 'Share of the cap'));
  t.end();
});

await t.test('link: each cap apart, with what it leaves unused', (t) => {
  const [free, capped, ...rest] = reportSections(linkSample());
  t.same(rest, []);
  t.same([free?.heading, capped?.heading], ['Link without a cap', 'Link of 5 Gbit/s']);
  t.equal(capped?.table.rows.length, 4);
  t.match(capped && row(capped, 'vmferry, qemu'), {
    rate: '620.0 MB/s',
    'of the cap': '99.2 %',
    // of the turns on this link alone
    'to iperf3, default block': '1.00',
  });
  t.match(capped && bars(capped, 'Share of the cap'), { axis: 'of the cap, %', bars: [{ value: 99.296 }] });
  t.equal(row(only(reportSections(cappedLinkSample())), 'vmferry, embedded')['of the cap'], '97.8 %');
  t.end();
});

await t.test('link: one of the two alone has nothing to be compared with', (t) => {
  const report = cappedLinkSample();
  for (const series of report.series) {
    const section = only(reportSections({ ...report, series: [series] }));
    t.same(
      section.figures.map(({ heading }) => heading),
      ['Rate', 'Share of the cap'],
    );
    t.notOk(section.table.columns.some(({ heading }) => heading.startsWith('to ')));
    t.same(section.notes, []);
  }
  t.end();
});

function compared(of: Readonly<Record<string, readonly MoveTraits[]>>): MoveReport {
  return {
    ...compareSample(),
    series: Object.entries(of).map(([mover, runs]) => ({
      mover,
      guest: 'qemu 1.0 GiB',
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
  t.equal(section.heading, 'qemu 1.0 GiB, idle, link without a cap');
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
      'qemu 1.0 GiB, idle, link without a cap',
      'qemu 1.0 GiB, rewrite 8.0 MiB, link without a cap',
      'qemu 1.0 GiB, rewrite 8.0 MiB, 1 Gbit/s',
    ],
  );
  const [idle, , capped] = sections;
  t.ok(idle && !bars(idle, 'Work rate of the guest'), 'no plot of what no guest tells');
  // 4.39 s for 500 MiB at 125 MB/s
  t.equal(capped && row(capped, 'vmferry')['to least time'], '1.05');
  t.end();
});

await t.test('compare: crashed guests are counted, marked and warned of', (t) => {
  const [idle, busy] = reportSections(compareSample());
  t.same(
    busy?.table.rows.map(([mover, crashes]) => [mover, crashes]),
    [
      ['vmferry', '0 of 5'],
      ['QEMU precopy', '2 of 5'],
      ['QEMU multifd 4', '1 of 5'],
      ['QEMU xbzrle', '5 of 5'],
      ['QEMU precopy, private RAM', '0 of 5'],
    ],
  );
  t.match(busy?.warnings, [/QEMU precopy: 2 of 5; QEMU multifd 4: 1 of 5; QEMU xbzrle: 5 of 5/]);
  const total = busy && bars(busy, 'Total time');
  t.match(total, {
    cross: 'crashed',
    bars: [
      { label: ['vmferry', '486 ms'], crosses: [] },
      { label: ['QEMU precopy', '2.48 s', '2 of 5 crashed'], crosses: [1, 3] },
    ],
  });
  const every = busy?.figures[0]?.table.rows[1];
  t.same(every, [
    'QEMU precopy',
    '2.48 s',
    '2.48 s',
    '2.33 s, crashed',
    '2.55 s',
    '2.78 s, crashed',
    '2.41 s',
  ]);
  t.notOk(
    idle?.table.columns.some(({ heading }) => heading === 'crashed'),
    'nobody knows of a guest that does nothing',
  );
  t.same(idle?.warnings, []);
  t.end();
});

await t.test('compare: a guest that crashed is told of though it told nothing', (t) => {
  const section = only(
    reportSections(
      compared({
        vmferry: [{ totalMs: 400, downtimeMs: 8, workKept: null }],
        'QEMU precopy': [{ totalMs: 2000, downtimeMs: 8, workKept: null, intact: false }],
      }),
    ),
  );
  t.equal(row(section, 'vmferry')['crashed'], '–');
  t.equal(row(section, 'QEMU precopy')['crashed'], '1 of 1');
  t.end();
});

await t.test('compare: QEMU with RAM of its own is beside, not compared with', (t) => {
  const section = only(
    reportSections(
      compared({
        vmferry: [{ totalMs: 400, downtimeMs: 8 }],
        'QEMU precopy': [{ totalMs: 2000, downtimeMs: 8 }],
        'QEMU precopy, private RAM': [{ totalMs: 200, downtimeMs: 8 }],
      }),
    ),
  );
  t.equal(row(section, 'vmferry')['ratio'], '0.20');
  t.equal(row(section, 'QEMU precopy, private RAM')['ratio'], '0.10');
  t.end();
});

await t.test('compare: the least time is that of the least that any mover has populated', (t) => {
  const report = compared({
    vmferry: [{ totalMs: 4000, downtimeMs: 8, populatedBytes: 250e6 }],
    'QEMU precopy': [{ totalMs: 6000, downtimeMs: 8, populatedBytes: 500e6 }],
  });
  const series = report.series.map((each) => ({ ...each, linkBytesPerSecond: 125e6 }));
  const section = only(reportSections({ ...report, series }));
  t.equal(row(section, 'vmferry')['to least time'], '2.00');
  t.equal(row(section, 'QEMU precopy')['to least time'], '3.00');
  t.end();
});

await t.test('compare: why the rounds ended', (t) => {
  const report = compared({ vmferry: [], 'QEMU precopy': [] });
  const move = sampleMove({ totalMs: 400, downtimeMs: 8 });
  const ended = (...reasons: string[]) => reasons.map((convergence) => ({ ...move, convergence }));
  const runs = [ended('below-threshold', 'time-limit', 'time-limit'), ended('')];
  const section = only(
    reportSections({
      ...report,
      series: report.series.map((each, index) => ({ ...each, runs: runs[index] ?? [] })),
    }),
  );
  t.equal(row(section, 'vmferry')['rounds ended'], 'below-threshold, time-limit');
  t.equal(row(section, 'QEMU precopy')['rounds ended'], '–');
  t.end();
});

await t.test('migrate: the workloads of one mover beside each other', (t) => {
  const sections = reportSections(migrateSample());
  t.same(
    sections.map(({ heading }) => heading),
    ['qemu 1.0 GiB, vmferry, link without a cap', 'embedded 256 MiB, vmferry, link without a cap'],
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

const lines = ({ figures }: Section, heading: string) => {
  const plot = figures.find((figure) => figure.heading === heading)?.plot;
  return plot?.kind === 'lines' ? plot : undefined;
};

await t.test('concurrent: a section for each number of guests, its two orders in turns', (t) => {
  const sections = reportSections(concurrentSample());
  t.same(
    sections.map(({ heading }) => heading),
    ['2 guests, rewrite 64.0 MiB at 16.0 MB/s', '4 guests, rewrite 64.0 MiB at 16.0 MB/s'],
  );
  t.same(
    sections.map(({ table }) => table.rows.map(([order]) => order)),
    [
      ['sequential', 'at once'],
      ['sequential', 'at once'],
    ],
  );
  t.end();
});

await t.test('scale: moves against memory, and against what is populated', (t) => {
  const [memory, populated] = reportSections(scaleSample());
  t.equal(memory?.heading, 'Moves against the memory of the guest');
  const plot = memory && lines(memory, 'Total time');
  t.match(plot, { axis: 'total, ms', across: 'memory, GiB' });
  t.same(
    plot?.lines.map(({ name, medians }) => [name, medians.map(({ x }) => x)]),
    [['', [1, 2, 4, 8]]],
    'guests with more in use are no points of this line',
  );
  t.equal(plot?.lines[0]?.runs.length, 20);
  t.match(memory?.notes[0], 'vmferry, qemu with 500 MiB in use, idle, link without a cap');
  t.same(memory?.table.rows.at(0)?.slice(0, 4), ['1.0 GiB', '410 ms', '386 to 460 ms', '1.00']);
  const parts = memory?.figures.at(-1)?.plot;
  t.same(parts?.kind === 'lines' && parts.lines.map(({ name }) => name), [
    'pause',
    'residual',
    'state',
    'load',
    'resume',
  ]);

  t.equal(populated?.heading, 'Moves against populated memory');
  t.match(populated?.notes[0], 'vmferry, qemu 8.0 GiB, idle, link without a cap');
  t.same(
    populated?.table.rows.map(([size]) => size),
    ['516 MiB', '1.0 GiB', '2.0 GiB', '4.0 GiB'],
  );
  t.end();
});

await t.test('scale: several movers are lines of their own, each to its smallest guest', (t) => {
  const report = scaleSample();
  const ours = report.series.slice(0, 2);
  const theirs = ours.map((each) => ({
    ...each,
    mover: 'QEMU precopy',
    runs: [
      {
        ...sampleMove({ totalMs: each.memoryBytes / 2 ** 20, downtimeMs: 9 }),
        intact: each.memoryBytes < 2 ** 31,
      },
    ],
  }));
  const section = only(reportSections({ ...report, series: [...ours, ...theirs], harvests: [] }));
  t.same(
    section.table.rows.map((cells) => cells.slice(0, 3)),
    [
      ['vmferry', '1.0 GiB', '–'],
      ['vmferry', '2.0 GiB', '–'],
      ['QEMU precopy', '1.0 GiB', '0 of 1'],
      ['QEMU precopy', '2.0 GiB', '1 of 1'],
    ],
  );
  const ratio = section.table.columns.findIndex(({ heading }) => heading === 'ratio');
  t.same(
    section.table.rows.slice(2).map((cells) => cells[ratio]),
    ['1.00', '2.00'],
  );
  t.match(section.warnings, [/QEMU precopy, 2\.0 GiB: 1 of 1/]);
  t.match(lines(section, 'Total time')?.lines, [
    { name: 'vmferry', crosses: [] },
    { name: 'QEMU precopy', crosses: [1] },
  ]);
  t.end();
});

await t.test('scale: harvests against both sizes', (t) => {
  const report = scaleSample();
  const section = reportSections(report)[2];
  t.equal(section?.heading, 'Harvest of the write-log');
  t.same(
    section?.table.rows.map(([guest]) => guest),
    report.harvests.map(({ guest }) => guest),
  );
  t.match(section && row(section, 'qemu 8.0 GiB with 1.0 GiB in use'), {
    harvest: '2.36 ms',
    'min to max': '2.22 to 2.64 ms',
    'a GiB of memory': '0.30 ms',
    populated: '1.0 GiB',
    'a GiB populated': '2.32 ms',
    'write-log': 'userfaultfd',
  });
  const plots = ['Against the memory of the guest', 'Against populated memory'].map(
    (heading) => section && lines(section, heading),
  );
  t.match(plots, [
    { axis: 'harvest, ms', across: 'memory, GiB' },
    { axis: 'harvest, ms', across: 'populated, GiB' },
  ]);
  t.same(
    plots.map((plot) => plot?.lines.map(({ medians, runs }) => [medians.length, runs.length])),
    [[[4, 84]], [[4, 84]]],
  );
  t.end();
});

await t.test('many runs are lines of their table', (t) => {
  const [, , section] = reportSections(scaleSample());
  const table = section?.figures[0]?.table;
  t.same(
    table?.columns.map(({ heading }) => heading),
    ['memory', '1.0 GiB', '2.0 GiB', '4.0 GiB', '8.0 GiB'],
  );
  t.equal(table?.rows.length, 22);
  t.same(table?.rows[0], ['median', '0.66 ms', '0.85 ms', '1.23 ms', '2.00 ms']);
  t.equal(table?.rows[21]?.[0], 'run 21');
  t.end();
});

await t.test('scale: where nothing was varied, a move and a harvest like any others', (t) => {
  const { series, harvests, ...setting } = scaleSample();
  const [moves, harvest] = reportSections({
    ...setting,
    series: series.slice(0, 1),
    harvests: harvests.slice(0, 1),
  });
  t.equal(moves?.heading, 'qemu 1.0 GiB with 500 MiB in use, vmferry, link without a cap');
  t.equal(harvest && bars(harvest, 'Harvest')?.bars.length, 1);
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
