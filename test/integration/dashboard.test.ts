import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { AgentLab } from '../support/agent-lab.js';
import { until } from '../support/browser.js';
import { DashboardPage } from '../support/dashboard-page.js';

/** The dashboard of a node, in a browser, over real agents. */

const reader = createToken('bob', 'read');
const operator = createToken('alice', 'operate');

// Node a wants tokens; b, asked by a for its status without one, does not. Nothing that does not converge is given up here.
let tokenFile = '';
const lab = await AgentLab.start(
  t,
  ['a', 'b'],
  (node) => ({
    ...(node === 'a' && { tokens: tokenFile }),
    migration: { stallRounds: 1000, maxRounds: 10_000 },
  }),
  undefined,
  async (directory) => {
    tokenFile = join(directory, 'tokens.yaml');
    const lines = [reader, operator].map(({ entry }) => tokenLine(entry)).join('\n');
    await writeFile(tokenFile, lines, { mode: 0o600 });
    await writeFile(join(directory, 'alice.token'), operator.token, { mode: 0o600 });
  },
);
lab.access = { tokenFile: join(lab.directory, 'alice.token') };
// writes faster than the limit that it is given below
const writer = {
  program: 'dirty' as const,
  memory: 16 * 2 ** 20,
  parameters: { workingSetPages: 512, pagesPerSecond: 2000 },
};
await lab.boot('a', { ...writer, name: 'web' });
await lab.boot('a', { ...writer, name: 'db' });
await lab.boot('b', { ...writer, name: 'shop' });

const dashboard = await DashboardPage.open(t, lab.agent('a').url);
const { page } = dashboard;

await t.test('who shows no token is asked for one, and is shown nothing', async (t) => {
  await page.getByRole('heading', { name: 'This agent asks who you are' }).waitFor();
  t.equal(await page.getByRole('table').count(), 0);
  t.same(await dashboard.violations(), []);
  await dashboard.signIn('vmferry_somebody-elses-token');
  await page.getByText("the token is none of those in this agent's file").waitFor();
});

await t.test('who may look only is told so, and can do no more', async (t) => {
  await dashboard.signIn(reader.token);
  await page.getByText('You may look only: the token of bob').waitFor();
  const migrate = page.getByRole('button', { name: 'Migrate web…' });
  t.equal(await migrate.isDisabled(), true);
  t.equal(
    await page.evaluate('document.querySelector("button:disabled").getAttribute("aria-describedby")'),
    'read-only',
  );
  t.same(await dashboard.violations(), []);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  t.equal(await page.getByRole('table').count(), 0, 'nothing stays behind');
});

await t.test('an operator sees the nodes and their VMs', async (t) => {
  await dashboard.signIn(operator.token);
  await page.getByRole('button', { name: 'Migrate web…' }).waitFor();
  t.equal(await page.getByText('alice').isVisible(), true);
  t.same(
    await page.evaluate('[...document.querySelectorAll(".nodes li")].map(({ dataset }) => dataset.node)'),
    ['a', 'b'],
  );
  const shop = page.getByRole('row', { name: /shop/ });
  t.equal(
    await shop.getByRole('link').getAttribute('href'),
    `${lab.agent('b').url}/`,
    'it is moved from there',
  );
  t.equal(page.url(), `${lab.agent('a').url}/`, 'the token is not in the URL');
  t.equal(await page.evaluate('localStorage.length'), 0);
});

await t.test(
  'a migration is started with the keyboard, after a look at what speaks against it',
  async (t) => {
    await page.getByRole('button', { name: 'Migrate web…' }).focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Migrate web' });
    await dialog.getByText('Options').click();
    await dialog.getByLabel('bandwidth at most, Mbit/s').fill('40');
    await page.keyboard.press('Enter');
    await dialog.getByText('web can move to b.').waitFor();
    t.same(await dashboard.violations(), []);
    t.same((await lab.client('a').status()).migrations, [], 'nothing has begun by that');
    await dialog.getByRole('button', { name: 'Start the migration' }).press('Enter');
    await dialog.waitFor({ state: 'detached' });
  },
);

await t.test('its rounds are plotted as they are copied, and told to those who see no plot', async (t) => {
  await dashboard.drawn('web', 'Left to copy', 'left to copy', 3);
  await dashboard.drawn('web', 'Rates', 'written by the VM', 2);
  const card = dashboard.migration('web');
  t.match(
    await card.getByRole('img', { name: 'Left to copy as each round begins.' }).getAttribute('aria-label'),
    /round 0: .* MiB, round 1: .* fit the downtime limit/,
  );
  await card.getByText('As tables').click();
  t.ok((await card.getByRole('row').count()) > 2);
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme });
    t.same(await dashboard.violations(), [], colorScheme);
  }
  await page.setViewportSize({ width: 360, height: 740 });
  await until(page, 'document.documentElement.scrollWidth === 360');
  await page.setViewportSize({ width: 1280, height: 900 });
});

await t.test('a second one waits, and its turn is told', async (t) => {
  const id = await lab.request('db', 'a', 'b');
  const entry = page.locator(`.queue [data-migration="${id}"]`);
  await entry.waitFor();
  t.match(await entry.innerText(), /db\s+a → b[^]*waits for node a \(web to b\)/);
});

await t.test('it is cancelled once that was confirmed; the one that waited moves', async (t) => {
  const card = dashboard.migration('web');
  const cancel = card.getByRole('button', { name: 'Cancel the migration of web…' });
  await cancel.click();
  await page.getByRole('button', { name: 'Let it go on' }).click();
  t.equal(await card.getByText('copying').isVisible(), true, 'nothing was done');
  await cancel.click();
  await page.getByRole('button', { name: 'Cancel the migration', exact: true }).click();
  await card.getByText('web is on a as before.').waitFor();
  await dashboard.migration('db').getByText('completed').waitFor();
  await dashboard.drawn('db', 'Switchover', 'resume', 1);
  t.same(await lab.whereIs('db'), { b: 'running' });
  t.same(await lab.whereIs('web'), { a: 'running' });
  await page.getByRole('row', { name: /db .* completed/ }).waitFor();
  t.equal(await page.getByRole('row', { name: /web .* cancelled/ }).isVisible(), true);
  await dashboard.migration('db').getByRole('button', { name: 'Dismiss' }).click();
  await dashboard.migration('db').waitFor({ state: 'detached' });
});

await t.test('one from another node is plotted as that one tells of it, and cancelled there', async (t) => {
  const id = await lab.request('shop', 'b', 'a', { bandwidthBytesPerSecond: 5_000_000 });
  await dashboard.drawn('shop', 'Left to copy', 'left to copy', 2);
  const card = dashboard.migration('shop');
  t.equal(await card.getByRole('link', { name: 'dashboard of b' }).isVisible(), true);
  t.equal(await card.getByRole('button').count(), 0);
  t.equal(await card.getByText(/^(measuring|converging|slow|stalled)$/).isVisible(), true, 'with a forecast');
  await lab.client('b').cancelMigration(id);
  await card.waitFor({ state: 'detached' });
});

await t.test('one of the past is shown, and the focus returns to where it was', async (t) => {
  const show = page.getByRole('button', { name: /Rounds of the migration of db/ });
  await show.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Migration of db' });
  await dialog.getByRole('img', { name: /The switchover: .* of downtime/ }).waitFor();
  t.same(await dashboard.violations(), []);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  t.match(await page.evaluate('document.activeElement.ariaLabel'), /Rounds of the migration of db/);
});

await t.test('it rests while nobody sees it', async (t) => {
  const hide = async (hidden: boolean) =>
    await page.evaluate(
      `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'))`,
    );
  await hide(true);
  await page.locator('.connection[data-state=paused]').waitFor();
  await hide(false);
  await page.locator('.connection[data-state=live]').waitFor();
  t.equal(await page.getByRole('button', { name: 'Migrate web…' }).isEnabled(), true);
});

await t.test('it says when the agent is gone, and goes on when it is back', async (t) => {
  await lab.agent('a').kill();
  await page.getByRole('alert').getByText('the agent does not answer').waitFor();
  t.equal(await page.getByRole('button', { name: 'Migrate web…' }).isDisabled(), true);
  t.same(await dashboard.violations(), []);
  await lab.restart('a');
  await page.getByRole('alert').waitFor({ state: 'detached' });
  await page.locator('.connection[data-state=live]').waitFor();
  t.equal(await page.getByText('alice').isVisible(), true, 'signed in still');
});

await t.test('nothing of it broke its policy, and no other host was asked', (t) => {
  t.same(dashboard.complaints, []);
  t.same([...dashboard.origins], [lab.agent('a').url]);
  t.end();
});
