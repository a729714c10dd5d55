import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get as getOverTls } from 'node:https';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { connectionTo } from '../../client/agent-connection.js';
import { labTls, type LabTls } from '../../scripts/lab/lab-certificates.js';
import { AgentLab } from '../support/agent-lab.js';
import { readPrometheusText, valueOf } from '../support/prometheus-text.js';
import { promtool } from '../support/promtool.js';

/** Two agents behind TLS, scraped as Prometheus does it while guests move. */

/** Whose working set the slow link never catches up with, and any other does. */
const GUEST = {
  program: 'dirty',
  memory: 2 ** 21,
  parameters: { workingSetPages: 256, pagesPerSecond: 2000 },
} as const;

const SLOW = { bandwidthBytesPerSecond: 2 ** 20, stallRounds: 1000 };

let tls: LabTls;
const lab = await AgentLab.start(
  t,
  ['a', 'b'],
  (node: string) => ({ ...tls.settings(node), shutdown: { migrations: 'finish' } }),
  undefined,
  async (directory) => {
    tls = await labTls(directory, ['a', 'b'], () => ['127.0.0.1']);
  },
);
lab.access = tls!.access;

async function askForMetrics(node: string, access = lab.access): Promise<Response> {
  const connection = connectionTo(lab.agent(node).url, access);
  return await connection.fetch(`${connection.base}/metrics`, {});
}

async function scrapedText(node: string): Promise<string> {
  const response = await askForMetrics(node);
  if (response.status !== 200) throw new Error(await response.text());
  return await response.text();
}

async function scrape(node: string) {
  return readPrometheusText(await scrapedText(node));
}

/** As a load balancer asks, with neither certificate nor token. */
async function probe(path: string, node = 'a'): Promise<{ status: number | undefined; body: unknown }> {
  const request = getOverTls(`${lab.agent(node).url}${path}`, { rejectUnauthorized: false, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode, body: JSON.parse(await text(response)) as unknown };
}

await t.test('probes need nothing, a scrape a certificate and a token', async (t) => {
  t.same(await probe('/healthz'), { status: 200, body: { status: 'ok' } });
  t.same(await probe('/readyz'), { status: 200, body: { ready: true, failing: [], remarks: [] } });
  t.match(await probe('/metrics'), { status: 401, body: { error: { code: 'unauthenticated' } } });
  const withoutToken = await askForMetrics('a', { ...lab.access, tokenFile: undefined });
  t.equal(withoutToken.status, 401, 'nor is the certificate enough');
});

await t.test('a migration is told of while it runs and counted when it has ended', async (t) => {
  await lab.boot('a', { name: 'web', ...GUEST });
  const id = await lab.request('web', 'a', 'b', SLOW);
  await lab.event('a', id, ({ event }) => event === 'round');
  const [source, target] = [await scrape('a'), await scrape('b')];
  t.equal(valueOf(source, 'vmferry_migrations_running', { role: 'source' }), 1);
  t.equal(valueOf(target, 'vmferry_migrations_running', { role: 'target' }), 1);
  t.ok(valueOf(source, 'vmferry_migration_link_bytes_per_second') > 0);
  t.ok(valueOf(source, 'vmferry_migration_dirty_bytes_per_second') > 0);
  t.ok(valueOf(source, 'vmferry_migration_residual_bytes') > 0);
  t.ok(valueOf(source, 'vmferry_migration_rounds_total') >= 1);
  t.equal(valueOf(source, 'vmferry_queue_migrations', { state: 'running' }), 1);
  t.equal(valueOf(target, 'vmferry_guests', { kind: 'embedded', status: 'incoming' }), 1);
  t.ok(valueOf(target, 'vmferry_connections', { type: 'link' }) >= 1);

  await lab.client('a').limitMigration(id, 0);
  const result = await lab.result('a', id);
  t.equal(result.outcome, 'completed');
  const after = await scrape('a');
  const completed = { outcome: 'completed', code: 'none' };
  t.equal(valueOf(after, 'vmferry_migrations_total', { role: 'source', ...completed }), 1);
  t.equal(valueOf(after, 'vmferry_migration_rounds_total'), result.rounds.length);
  t.equal(valueOf(after, 'vmferry_migration_sent_bytes_total'), result.wireBytes);
  const sum = (figure: 'pages' | 'zeroPages') =>
    result.rounds.reduce((total, round) => total + round[figure], 0);
  const pages = (content: string) => valueOf(after, 'vmferry_migration_pages_total', { content });
  t.equal(pages('zero'), sum('zeroPages'));
  t.equal(pages('data'), sum('pages') - sum('zeroPages'));
  const seconds = (name: string, labels = {}) => valueOf(after, name, labels, '_sum');
  t.equal(seconds('vmferry_migration_downtime_seconds'), result.downtimeMs / 1000);
  t.equal(seconds('vmferry_migration_duration_seconds', { outcome: 'completed' }), result.totalMs / 1000);
  t.equal(seconds('vmferry_migration_queue_seconds'), result.queuedMs / 1000);
  t.equal(valueOf(after, 'vmferry_migrations_running', { role: 'source' }), 0);
  t.equal(valueOf(after, 'vmferry_migration_residual_bytes'), 0);
  const there = await scrape('b');
  t.equal(valueOf(there, 'vmferry_migrations_total', { role: 'target', ...completed }), 1);
  t.equal(valueOf(there, 'vmferry_guest_write_logs', { write_log: 'store-path' }), 1);
  const expiry = valueOf(there, 'vmferry_certificate_expiry_timestamp_seconds');
  t.ok(expiry > Date.now() / 1000, `${expiry} is ahead`);
  await promtool(['check', 'metrics'], await scrapedText('a'));
});

await t.test('what is refused and what is cancelled is counted by its code', async (t) => {
  await lab.boot('a', { name: 'web', ...GUEST });
  await t.rejects(lab.request('web', 'a', 'b'), { code: 'target-has-guest' });
  await lab.boot('a', { name: 'stays', ...GUEST });
  const id = await lab.request('stays', 'a', 'b', SLOW);
  await lab.copying('a', id);
  await lab.client('a').cancelMigration(id);
  const told = await scrape('a');
  t.equal(valueOf(told, 'vmferry_migrations_refused_total', { code: 'target-has-guest' }), 1);
  const cancelled = { outcome: 'cancelled', code: 'cancelled' };
  t.equal(valueOf(told, 'vmferry_migrations_total', { role: 'source', ...cancelled }), 1);
});

await t.test('an agent that is ending lives and is not ready', async (t) => {
  const id = await lab.request('stays', 'a', 'b', SLOW);
  await lab.copying('a', id);
  const ended = lab.agent('a').stop();
  await lab.agent('a').logged(({ msg }) => msg === 'shutting down');
  t.same(await probe('/readyz'), {
    status: 503,
    body: { ready: false, failing: ['shutting-down'], remarks: [] },
  });
  t.equal((await probe('/healthz')).status, 200);
  t.equal(valueOf(await scrape('a'), 'vmferry_ready'), 0);
  await lab.client('a').limitMigration(id, 0);
  t.equal(await ended, 0);
  t.strictSame(await lab.whereIs('stays', ['b']), { b: 'running' });
});
