import { quickScenario } from '../../../scripts/simulate/quick-scenario.js';
import { simulate } from '../../../scripts/simulate/simulate.js';
import { simulationPage } from '../../../scripts/simulate/simulation-page.js';
import { drawn, tryOutPage } from '../../support/report-page.js';

const RATIOS = [0, 0.3, 0.6, 0.9];
const evil = `</script><img src=x onerror="alert('x')">`;

function page(): string {
  const scenario = quickScenario({
    nodes: 6,
    link: '10gbit',
    guests: 3,
    memory: '4GiB',
    writes: '1GiB@100MB',
    moves: 'drain:2',
  });
  return simulationPage({ command: `vmferry simulate ${evil}`, ...simulate(scenario, RATIOS) });
}

tryOutPage('a simulation: every plot is drawn, a line for each policy', page, async (t, page) => {
  const plots = await drawn(page);
  t.equal(plots.length, 4 + 5);
  const bars = plots.find(({ name }) => name === 'Total time');
  t.same(bars?.datasets, [
    ['bar', 4],
    ['scatter', 0],
  ]);
  const lines = plots.find(({ name }) => name === 'Total time, to one at a time');
  // Those of one at a time and of 2, 4 and 8 at once; and crosses for what did not converge, most of it above 0.3.
  const all = lines?.datasets.map(([, count]) => count).filter((count) => count === RATIOS.length) ?? [];
  t.ok(all.length >= 4, JSON.stringify(lines));
  t.match(await page.locator('h1').textContent(), 'vmferry simulate');
  t.match(await page.locator('.note').allTextContents(), [/./, /./, /./, /^A cross/, /^2 at once: /]);
  t.equal(await page.locator('pre').textContent(), `vmferry simulate ${evil}`);
  t.equal(await page.locator('img').count(), 0);
});
