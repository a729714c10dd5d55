import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { test, type Test } from 'tap';
import { browser } from './browser.js';

/** Tries a page out, as a test, which must neither complain nor ask for anything but its file. */
export function tryOutPage(
  name: string,
  render: () => string,
  act: (t: Test, page: Page) => Promise<void>,
): void {
  void test(name, async (t) => {
    const url = pathToFileURL(`${t.testdir()}/report.html`).href;
    writeFileSync(new URL(url), render());
    const page = await browser.newPage();
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => complaints.push(dialog.message()));
    page.on('request', (request) => requests.push(request.url()));
    try {
      await page.goto(url);
      await act(t, page);
      t.same(complaints, []);
      t.same(requests, [url]);
    } finally {
      await page.close();
    }
  });
}

export interface Drawn {
  readonly name: string;
  readonly width: number;
  /** By dataset: its type, and how much of it is within the plot. */
  readonly datasets: readonly (readonly [type: string, count: number])[];
}

/** What Chart.js has drawn, by the heading of the figure. */
export function drawn(page: Page): Promise<Drawn[]> {
  return page.evaluate<Drawn[]>(`[...document.querySelectorAll('canvas')].map((canvas) => {
    const chart = Chart.getChart(canvas);
    const { left, right, top, bottom } = chart.chartArea;
    const shown = ({ x, y }) => x >= left && x <= right && y >= top && y <= bottom;
    return {
      name: canvas.closest('figure').querySelector('h3').textContent,
      width: canvas.clientWidth,
      datasets: chart.getSortedVisibleDatasetMetas()
        .map(({ type, data }) => [type, data.filter(shown).length])
        .sort(),
    };
  })`);
}
