import type { Chart as ChartClass } from 'chart.js';
import { drawnBars, heightOfBars } from './bar-plot.js';
import { drawnColumns } from './column-plot.js';
import { drawnLines } from './line-plot.js';
import { type Palette, palette } from './palette.js';
import type { Configuration } from './plot-parts.js';
import type { PageData, PickedRun, Plot } from './plots.js';
import { drawnSpans, heightOfSpans } from './span-plot.js';

/**
 * The script of a report's page, which runs in the reader's browser: draws the plots with Chart.js, again when the colours of
 * the system change or the page is printed, and those of the migration that the reader has picked. `render-page.ts` names the
 * files that it imports.
 */

/** Chart.js stands before this script in the page. */
declare const Chart: typeof ChartClass;

/** Height of plots that have no rows. px */
const PLAIN = 240;

function drawn(plot: Plot, colours: Palette): Configuration {
  switch (plot.kind) {
    case 'bars':
      return drawnBars(plot, colours);
    case 'columns':
      return drawnColumns(plot, colours);
    case 'lines':
      return drawnLines(plot, colours);
    case 'spans':
      return drawnSpans(plot, colours);
  }
}

function height(plot: Plot): number {
  if (plot.kind === 'bars') return heightOfBars(plot);
  return plot.kind === 'spans' ? heightOfSpans(plot) : PLAIN;
}

function draw(canvas: HTMLCanvasElement, plot: Plot, colours: Palette): void {
  Chart.getChart(canvas)?.destroy();
  // Chart.js follows the size of the element around the canvas.
  if (canvas.parentElement) canvas.parentElement.style.height = `${height(plot)}px`;
  new Chart(canvas, drawn(plot, colours));
}

function canvases(attribute: string): [HTMLCanvasElement, number][] {
  return [...document.querySelectorAll<HTMLCanvasElement>(`canvas[${attribute}]`)].map((canvas) => [
    canvas,
    Number(canvas.getAttribute(attribute)),
  ]);
}

function fill(table: HTMLTableElement, rows: readonly (readonly string[])[]): void {
  const figures = [...table.querySelectorAll('thead th')].map((heading) => heading.className);
  table.tBodies[0]?.replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement('tr');
      row.append(
        ...cells.map((text, column) => {
          const cell = document.createElement(column === 0 ? 'th' : 'td');
          if (column === 0) cell.setAttribute('scope', 'row');
          cell.className = figures[column] ?? '';
          cell.textContent = text;
          return cell;
        }),
      );
      return row;
    }),
  );
}

const data = JSON.parse(document.getElementById('data')?.textContent ?? '{}') as PageData;
const series = document.querySelector<HTMLSelectElement>('#picked-series');
const run = document.querySelector<HTMLSelectElement>('#picked-run');

function picked(): PickedRun | undefined {
  return data.picks[series?.selectedIndex ?? 0]?.runs[run?.selectedIndex ?? 0];
}

function drawPicked(colours: Palette): void {
  const choice = picked();
  if (!choice) return;
  for (const [canvas, number] of canvases('data-picked-plot')) {
    const plot = choice.plots[number];
    if (plot) draw(canvas, plot, colours);
  }
  for (const table of document.querySelectorAll<HTMLTableElement>('table[data-picked-table]')) {
    fill(table, choice.tables[Number(table.dataset['pickedTable'])] ?? []);
  }
}

function drawAll(): void {
  const colours = palette();
  for (const [canvas, number] of canvases('data-plot')) {
    const plot = data.plots[number];
    if (plot) draw(canvas, plot, colours);
  }
  drawPicked(colours);
}

function listRuns(): void {
  const pick = data.picks[series?.selectedIndex ?? 0];
  if (!pick || !run) return;
  run.replaceChildren(
    ...pick.runs.map(({ name }, index) => new Option(name, String(index), false, index === pick.first)),
  );
}

series?.addEventListener('change', () => {
  listRuns();
  drawPicked(palette());
});
run?.addEventListener('change', () => drawPicked(palette()));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);

/** Which of the tables the reader had closed: on paper all are open. */
let closed: HTMLDetailsElement[] = [];
addEventListener('beforeprint', () => {
  document.documentElement.classList.add('printed');
  closed = [...document.querySelectorAll<HTMLDetailsElement>('details:not([open])')];
  for (const details of closed) details.open = true;
  drawAll();
});
addEventListener('afterprint', () => {
  document.documentElement.classList.remove('printed');
  for (const details of closed) details.open = false;
  drawAll();
});

Chart.defaults.font.family = 'system-ui, sans-serif';
// Sharp on paper as well.
Chart.defaults.devicePixelRatio = Math.max(2, devicePixelRatio);
listRuns();
drawAll();
