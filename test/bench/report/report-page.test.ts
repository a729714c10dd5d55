import type { Page } from 'playwright-core';
import type { Test } from 'tap';
import type { BenchReport } from '../../../scripts/bench/bench-report.js';
import { renderReport } from '../../../scripts/bench/report/render-report.js';
import { benchSamples, compareSample, migrateSample } from '../../support/bench-samples.js';
import { until } from '../../support/browser.js';
import { drawn, tryOutPage } from '../../support/report-page.js';

/** A report's page, tried out: see tryOutPage. */
function tryOut(name: string, report: BenchReport, act: (t: Test, page: Page) => Promise<void>): void {
  tryOutPage(name, () => renderReport(report), act);
}

/** Rows of the table that the page fills. */
async function pickedRows(page: Page, table: number): Promise<string[][]> {
  const rows = await page.locator(`table[data-picked-table="${table}"] tbody tr`).all();
  return Promise.all(rows.map((row) => row.locator('th, td').allTextContents()));
}

for (const report of benchSamples()) {
  tryOut(`bench ${report.bench}: every plot is drawn`, report, async (t, page) => {
    const plots = await drawn(page);
    t.ok(plots.length > 1);
    for (const { name, datasets } of plots)
      t.ok(
        datasets.some(([, count]) => count > 0),
        name,
      );
    t.equal(await page.locator('noscript').isVisible(), false);
  });
}

tryOut('a bar for each mover, a dot for each of its runs', compareSample(), async (t, page) => {
  const plots = await drawn(page);
  t.same(
    plots.filter(({ name }) => name === 'Total time').map(({ datasets }) => datasets),
    [5, 5, 3].map((movers) => [
      ['bar', movers],
      ['scatter', 5 * movers],
    ]),
  );
  t.same(plots.find(({ name }) => name === 'Sent in each round')?.datasets, [['bar', 2]]);
  t.same(plots.find(({ name }) => name === 'The switchover, enlarged')?.datasets, [
    ['bar', 5],
    ['scatter', 0],
  ]);
});

tryOut('a cross for each move after which the guest crashed', compareSample(), async (t, page) => {
  const crosses = await page.evaluate<number[]>(`[...document.querySelectorAll('canvas[data-plot]')]
    .filter((canvas) => canvas.closest('figure').querySelector('h3').textContent === 'Total time')
    .map((canvas) => Chart.getChart(canvas).getSortedVisibleDatasetMetas()
      .flatMap(({ data }) => data)
      .filter(({ options }) => options.pointStyle === 'crossRot').length)`);
  t.same(crosses, [0, 8, 0]);
  t.match(await page.locator('.warning').allTextContents(), [/QEMU precopy: 2 of 5/]);
});

tryOut('a migration is picked with the keyboard', migrateSample(), async (t, page) => {
  t.equal((await pickedRows(page, 0)).length, 2, 'idle: two rounds');
  for (let tabs = 0; tabs < 100; tabs += 1) {
    await page.keyboard.press('Tab');
    if (await page.locator('#picked-series:focus').count()) break;
  }
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  t.equal(
    await page.locator('#picked-series').inputValue(),
    'vmferry, qemu 1.0 GiB, random xor, link without a cap',
  );
  t.equal((await pickedRows(page, 0)).length, 14);
  t.same((await drawn(page)).find(({ name }) => name === 'Sent in each round')?.datasets, [['bar', 14]]);
  t.match(
    await page.locator('#picked-run option:checked').textContent(),
    'run 1 of 5 (median): total 1.83 s',
  );

  const [first] = await pickedRows(page, 1);
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  t.match(await page.locator('#picked-run option:checked').textContent(), 'run 2 of 5: total 1.72 s');
  const [second] = await pickedRows(page, 1);
  t.equal(first?.[0], 'pause');
  t.not(second?.[2], first?.[2], 'the downtime of another run');
});

tryOut('all of it fits a narrow screen', compareSample(), async (_t, page) => {
  await page.setViewportSize({ width: 360, height: 740 });
  // The plots follow in their own time; then only tables scroll sideways.
  await until(page, 'document.documentElement.scrollWidth === 360');
});

tryOut('colours follow the scheme, and are light on paper', compareSample(), async (t, page) => {
  const ink = `Chart.getChart(document.querySelector('canvas')).options.scales.x.title.color`;
  const light = await page.evaluate<string>(ink);
  await page.emulateMedia({ colorScheme: 'dark' });
  await until(page, `${ink} !== '${light}'`);
  const dark = await page.evaluate<string>(ink);
  await page.evaluate(`dispatchEvent(new Event('beforeprint'))`);
  t.equal(await page.evaluate(ink), light);
  t.equal(await page.locator('details:not([open])').count(), 0, 'all tables are printed');
  await page.evaluate(`dispatchEvent(new Event('afterprint'))`);
  t.equal(await page.evaluate(ink), dark);
  t.equal(await page.locator('details[open]').count(), 0);
});

const evil = `</script><img src=x onerror="alert('x')">`;
const compare = compareSample();
const hostile: BenchReport = {
  ...compare,
  command: evil,
  series: compare.series.map((each) => ({ ...each, workload: evil })),
};
tryOut('a name that is markup is shown as it is', hostile, async (t, page) => {
  t.equal(await page.locator('pre').textContent(), evil);
  t.match(await page.locator('#picked-series option').first().textContent(), evil);
  t.equal(await page.locator('img').count(), 0);
});
