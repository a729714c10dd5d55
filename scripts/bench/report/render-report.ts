import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { formatBytes } from '../../../shared/units.js';
import type { BenchReport, BenchSetting } from '../bench-report.js';
import { Html, html } from './html.js';
import { migrationPicks, PICKED_COLUMNS, PICKED_PLOTS } from './migration-picks.js';
import { linkName } from './move-sections.js';
import type { PageData, Pick, Plot } from './page/plots.js';
import { reportSections } from './report-sections.js';
import type { Figure, Section, Table } from './section.js';

/** The checkout that this program was compiled in has the style sheet. */
const STYLE = new URL('../../../../scripts/bench/report/page/report.css', import.meta.url);
/** Compiled beside this file, for browsers. */
const SCRIPT = new URL('./page/draw-plots.js', import.meta.url);
/** Chart.js as one script, beside the module that its package exports. */
const CHART_JS = new URL('./chart.umd.min.js', import.meta.resolve('chart.js'));

const QUESTIONS: Readonly<Record<BenchReport['bench'], string>> = {
  link: 'How fast pages get from the memory of one agent to that of the other.',
  migrate: 'What it takes to move guests under different workloads.',
  compare: "The same guests, workloads and links, moved by vmferry and by QEMU's own migration.",
  concurrent:
    'Guests that keep writing, moved one after the other, and all at once with the pair lock disabled.',
  scale:
    "What a move and a harvest of the write-log cost as a guest's memory grows, and as more of it is populated.",
};

/**
 * The report of a benchmark as one HTML file that needs no other: style, scripts and data are in it, and its content security
 * policy keeps it from loading anything.
 */
export function renderReport(report: BenchReport): string {
  const sections = reportSections(report);
  const picks = 'series' in report && isMoves(report) ? migrationPicks(report.series) : [];
  const plots: Plot[] = [];
  const body = html`
    ${header(report)}
    <main>
      ${sections.map((section) => sectionHtml(section, plots))}
      ${picks.length > 0 ? pickedMigration(picks) : ''}
    </main>
  `;
  const style = readFileSync(STYLE, 'utf8');
  const scripts = [CHART_JS, SCRIPT].map(inlineScript);
  const data: PageData = { plots, picks };
  const policy = [
    "default-src 'none'",
    `style-src ${hash(style)}`,
    `script-src ${scripts.map(hash).join(' ')}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  // The contents of style and script elements are taken as they are, to the byte: the policy has their hashes.
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${html`vmferry bench ${report.bench}`.text}</title>
<style>${style}</style>
</head>
<body>
${body.text}
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${scripts[0]}</script>
<script type="module">${scripts[1]}</script>
</body>
</html>
`;
}

function isMoves(report: BenchReport): report is BenchReport & { bench: 'migrate' | 'compare' | 'scale' } {
  return report.bench === 'migrate' || report.bench === 'compare' || report.bench === 'scale';
}

/** A script as it may stand in a page: nothing in it ends its element, and it asks for no source map. */
function inlineScript(file: URL): string {
  return readFileSync(file, 'utf8')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    .replace(/<(?=\/script|!--)/gi, '\\x3c');
}

/** Of what may stand in a page, for its content security policy. */
function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
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

type Fact = readonly [string, string | number | boolean];

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

function factsHtml(caption: string, facts: readonly Fact[]): Html {
  return html`<table>
    <caption>
      ${caption}
    </caption>
    <tbody>
      ${facts.map(
        ([name, value]) =>
          html`<tr>
            <th scope="row">${name}</th>
            <td>${String(value)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** Adds the plots of the section to those of the page. */
function sectionHtml({ heading, notes, warnings = [], table, figures }: Section, plots: Plot[]): Html {
  return html`
    <section>
      <h2>${heading}</h2>
      ${warnings.map((warning) => html`<p class="warning">${warning}</p>`)}
      ${notes.map((note) => html`<p class="note">${note}</p>`)}
      <div class="scroll" role="region" aria-label="${heading}: figures" tabindex="0">
        ${tableHtml(table)}
      </div>
      <div class="tiles">
        ${figures.map((figure) => figureHtml(heading, figure, plots.push(figure.plot) - 1))}
      </div>
    </section>
  `;
}

function figureHtml(section: string, { heading, table }: Figure, plot: number): Html {
  return html`<figure>
    <h3>${heading}</h3>
    <div class="plot">
      <canvas
        role="img"
        data-plot="${plot}"
        aria-label="${section}: ${heading}"
        aria-details="table-${plot}"
      ></canvas>
    </div>
    <details>
      <summary>As a table</summary>
      <div id="table-${plot}">${scrolling(table.caption, tableHtml(table))}</div>
    </details>
  </figure>`;
}

function tableHtml({ caption, columns, rows }: Table, pickedTable?: number): Html {
  const align = (column: number) => (columns[column]?.figures === true ? 'figures' : '');
  const mark = pickedTable === undefined ? '' : html`data-picked-table="${pickedTable}"`;
  return html`<table ${mark}>
    <caption>
      ${caption}
    </caption>
    <thead>
      <tr>
        ${columns.map(({ heading }, column) => html`<th scope="col" class="${align(column)}">${heading}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (cells) =>
          html`<tr>
            ${cells.map((text, column) =>
              column === 0
                ? html`<th scope="row" class="${align(column)}">${text}</th>`
                : html`<td class="${align(column)}">${text}</td>`,
            )}
          </tr>`,
      )}
    </tbody>
  </table>`;
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

/** What is too wide for its place can be scrolled, with the keyboard as well. */
function scrolling(label: string, content: Html): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${content}</div>`;
}
