import axe from 'axe-core';
import type { Page } from 'playwright-core';
import type { Test } from 'tap';
import { browser, until } from './browser.js';

/** The dashboard in a browser, and what it must not do. */
export class DashboardPage {
  readonly page: Page;
  /** Errors of scripts and refusals by the page's own policy. */
  readonly complaints: string[] = [];
  /** Where anything was asked for. */
  readonly origins = new Set<string>();

  static async open(t: Test, url: string): Promise<DashboardPage> {
    const page = await browser.newPage();
    t.teardown(() => page.close());
    const dashboard = new DashboardPage(page);
    await page.goto(url);
    return dashboard;
  }

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => {
      // answers that say no are part of it
      if (!message.text().startsWith('Failed to load resource')) this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('request', (request) => this.origins.add(new URL(request.url()).origin));
  }

  async signIn(token: string): Promise<void> {
    await this.page.getByLabel('Token').fill(token);
    await this.page.keyboard.press('Enter');
  }

  /** The card of a VM's migration. */
  migration(vm: string) {
    return this.page.getByRole('article', { name: `Migration of ${vm}` });
  }

  /** Points of a dataset of the plot of a card, once there are so many. */
  async drawn(vm: string, plot: string, dataset: string, points: number): Promise<void> {
    await until(
      this.page,
      `(() => {
        const figure = [...document.querySelectorAll('article[aria-label="Migration of ${vm}"] figure')]
          .find((each) => each.querySelector('h4').textContent.startsWith('${plot}'));
        const chart = figure && Chart.getChart(figure.querySelector('canvas'));
        return chart?.data.datasets.find(({ label }) => label.startsWith('${dataset}'))?.data.length >= ${points};
      })()`,
    );
  }

  /** What axe finds against the rules of WCAG 2.2 AA and good practice, in one line each. */
  async violations(): Promise<string[]> {
    if (!(await this.page.evaluate('"axe" in globalThis'))) await this.page.evaluate(axe.source);
    const { violations } = await this.page.evaluate<axe.AxeResults>('axe.run()');
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${help}: ${html}: ${failureSummary ?? ''}`),
    );
  }
}
