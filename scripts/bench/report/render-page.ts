import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Html, html } from './html.js';
import type { PageData, Pick, Plot } from './page/plots.js';
import type { Figure, Section, Table } from './section.js';

/** Built beside this file, for browsers. */
const STYLE = new URL('./page/report.css', import.meta.url);
/** The page's script and what it imports, which comes first. */
const SCRIPT = [
  'palette',
  'plot-parts',
  'bar-plot',
  'column-plot',
  'line-plot',
  'span-plot',
  'draw-plots',
].map((module) => new URL(`./page/${module}.js`, import.meta.url));
/** Chart.js as one script, beside the module that its package exports. */
const CHART_JS = new URL('./chart.umd.min.js', import.meta.resolve('chart.js'));

/** What a page shows, from the top down. */
export interface Page {
  readonly title: string;
  readonly header: Html;
  readonly sections: readonly Section[];
  /** What the reader may pick from, in `last`. */
  readonly picks: readonly Pick[];
  /** Below the sections. */
  readonly last: Html;
}

/**
 * A page as one HTML file that needs no other: style, scripts and data are in it, and its content security policy keeps it
 * from loading anything.
 */
export function renderPage({ title, header, sections, picks, last }: Page): string {
  const plots: Plot[] = [];
  const body = html`
    ${header}
    <main>${sections.map((section) => sectionHtml(section, plots))} ${last}</main>
  `;
  const style = readFileSync(STYLE, 'utf8');
  const scripts = [inlineScript(CHART_JS), SCRIPT.map(joinedModule).join('')];
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
<title>${html`${title}`.text}</title>
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

/** A script as it may stand in a page: nothing in it ends its element, and it asks for no source map. */
function inlineScript(file: URL): string {
  return readFileSync(file, 'utf8')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    .replace(/<(?=\/script|!--)/gi, '\\x3c');
}

/** A module as a part of one script, in which all have each other's names: a page that loads nothing has nothing to import. */
function joinedModule(file: URL): string {
  return inlineScript(file)
    .replace(/^import .*;\n/gm, '')
    .replace(/^export /gm, '');
}

/** Of what may stand in a page, for its content security policy. */
function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

export type Fact = readonly [string, string | number | boolean];

export function factsHtml(caption: string, facts: readonly Fact[]): Html {
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

export function tableHtml({ caption, columns, rows }: Table, pickedTable?: number): Html {
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

/** What is too wide for its place can be scrolled, with the keyboard as well. */
export function scrolling(label: string, content: Html): Html {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${content}</div>`;
}
