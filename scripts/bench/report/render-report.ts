import { formatBytes } from '../../../shared/units.js';
import type { BenchReport, BenchSetting } from '../bench-report.js';
import { type Html, html } from './html.js';
import { migrationPicks, PICKED_COLUMNS, PICKED_PLOTS } from './migration-picks.js';
import { linkName } from './move-sections.js';
import type { Pick } from './page/plots.js';
import { type Fact, factsHtml, renderPage, scrolling, tableHtml } from './render-page.js';
import { reportSections } from './report-sections.js';
import type { Table } from './section.js';

const QUESTIONS: Readonly<Record<BenchReport['bench'], string>> = {
  link: 'How fast pages get from the memory of one agent to that of the other.',
  migrate: 'What it takes to move guests under different workloads.',
  compare: "The same guests, workloads and links, moved by vmferry and by QEMU's own migration.",
  concurrent:
    'Guests that keep writing, moved one after the other, and all at once with the pair lock disabled.',
  scale:
    "What a move and a harvest of the write-log cost as a guest's memory grows, and as more of it is populated.",
};

/** The report of a benchmark as one HTML file that needs no other. */
export function renderReport(report: BenchReport): string {
  const picks = 'series' in report && isMoves(report) ? migrationPicks(report.series) : [];
  return renderPage({
    title: `vmferry bench ${report.bench}`,
    header: header(report),
    sections: reportSections(report),
    picks,
    last: picks.length > 0 ? pickedMigration(picks) : html``,
  });
}

function isMoves(report: BenchReport): report is BenchReport & { bench: 'migrate' | 'compare' | 'scale' } {
  return report.bench === 'migrate' || report.bench === 'compare' || report.bench === 'scale';
}

function header(report: BenchReport): Html {
  const { bench, startedAt, command, host, options } = report;
  return html`
    <header>
      <h1>vmferry bench ${bench}</h1>
      <p>${QUESTIONS[bench]}</p>
      <p>${when(startedAt)}</p>
      <p class="note">Run it again:</p>
      <pre><code>${command}</code></pre>
      <h2>Where it ran</h2>
      <div class="tiles facts">
        ${[
          factsHtml('Host', hostFacts(host)),
          factsHtml('Versions', Object.entries(host.versions)),
          factsHtml('Link', linkFacts(report)),
          factsHtml('Options', Object.entries(options)),
        ]}
      </div>
    </header>
  `;
}

function when(startedAt: string): Html {
  const moment = new Date(startedAt);
  const text = Number.isNaN(moment.getTime())
    ? startedAt
    : `${moment.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  return html`Started <time datetime="${startedAt}">${text}</time>.`;
}

function hostFacts(host: BenchSetting['host']): Fact[] {
  return [
    ['processor', host.processor],
    ['processors', host.processors],
    ['memory', formatBytes(host.memoryBytes)],
    ['kernel', host.kernel],
    ['huge pages of tmpfs', host.hugePages],
  ];
}

const LINK_KINDS: Readonly<Record<BenchSetting['link']['kind'], string>> = {
  loopback: 'loopback of one host',
  lab: 'two network namespaces, joined by veth',
  agents: 'between the hosts of two agents',
};

function linkFacts(report: BenchReport): Fact[] {
  const { kind, agents } = report.link;
  const caps = capsOf(report).map((cap) => (cap === null ? 'nothing' : linkName(cap)));
  return [
    ['kind', LINK_KINDS[kind]],
    ['capped at', caps.join(', then ')],
    ...agents.map((agent, index): Fact => [`agent ${index + 1}`, agent]),
  ];
}

/** In their order; that of the link where the series don't tell. bytes/s */
function capsOf(report: BenchReport): (number | null)[] {
  if (report.bench === 'concurrent' || report.series.length === 0) return [report.link.bytesPerSecond];
  return [...new Set(report.series.map(({ linkBytesPerSecond }) => linkBytesPerSecond))];
}

/** What the page's script fills by what the reader picks. */
function pickedMigration(picks: readonly Pick[]): Html {
  const { rounds, timeline, switchover } = PICKED_PLOTS;
  return html`
    <section>
      <h2>One migration, round by round</h2>
      <div class="picker">
        <label>
          Series
          <select id="picked-series">
            ${picks.map(({ name }) => html`<option>${name}</option>`)}
          </select>
        </label>
        <label>
          Run
          <select id="picked-run">
            ${(picks[0]?.runs ?? []).map(({ name }) => html`<option>${name}</option>`)}
          </select>
        </label>
      </div>
      <noscript><p>The plots and what can be picked here need JavaScript.</p></noscript>
      <div class="tiles">${rounds.map((heading, plot) => pickedFigure(heading, plot))}</div>
      ${pickedTable('Rounds; times are since the request', PICKED_COLUMNS.rounds, 0)}
      <div class="tiles wide">
        ${pickedFigure(timeline, rounds.length)} ${pickedFigure(switchover, rounds.length + 1)}
      </div>
      ${pickedTable('Parts of the downtime; times are since the pause', PICKED_COLUMNS.switchover, 1)}
    </section>
  `;
}

function pickedFigure(heading: string, plot: number): Html {
  return html`<figure>
    <h3>${heading}</h3>
    <div class="plot">
      <canvas role="img" data-picked-plot="${plot}" aria-label="${heading} of the migration picked"></canvas>
    </div>
  </figure>`;
}

function pickedTable(caption: string, columns: Table['columns'], table: number): Html {
  return scrolling(caption, tableHtml({ caption, columns, rows: [] }, table));
}
