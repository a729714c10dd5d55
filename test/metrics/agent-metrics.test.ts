import { readFileSync } from 'node:fs';
import t from 'tap';
import { AgentMetrics } from '../../agent/metrics/agent-metrics.js';
import type { NodeState } from '../../agent/metrics/node-gauges.js';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import type { MigrationInfo, QueueEntry } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { guestInfo, migrationInfo, migrationResult, MIGRATION_ID, nodeInfo } from '../support/api-samples.js';
import { readPrometheusText, valueOf } from '../support/prometheus-text.js';
import { promtool } from '../support/promtool.js';

const HOSTILE = 'x"} 1\nvmferry_ready{a="\\';

const STATE: NodeState = {
  node: nodeInfo,
  guests: [],
  queue: [],
  journal: [],
  connections: { api: 3, link: 1 },
  certificateExpiresAt: null,
  ready: true,
};

async function scrape(
  metrics: AgentMetrics,
  state: Partial<NodeState> = {},
  migrations: MigrationInfo[] = [],
) {
  return readPrometheusText(await metrics.text({ ...STATE, ...state, migrations }));
}

/** A migration with its rounds, as its agent tells of it. */
function migrate(metrics: AgentMetrics, result = migrationResult()): void {
  const { migrations } = metrics;
  migrations.began(result.id, 1500);
  for (const round of result.rounds) migrations.roundCopied(result.id, round);
  migrations.ended(result);
}

await t.test('counts a migration that goes well, once a round and once at its end', async (t) => {
  const metrics = new AgentMetrics();
  migrate(metrics, migrationResult({ wireBytes: 41_820_100 }));
  const told = await scrape(metrics);
  const labels = { role: 'source', outcome: 'completed', code: 'none' };
  t.equal(valueOf(told, 'vmferry_migrations_total', labels), 1);
  t.equal(valueOf(told, 'vmferry_migration_rounds_total'), 2);
  t.equal(valueOf(told, 'vmferry_migration_pages_total', { content: 'zero' }), 6384);
  t.equal(valueOf(told, 'vmferry_migration_pages_total', { content: 'data' }), 10_200);
  t.equal(valueOf(told, 'vmferry_migration_copied_bytes_total'), 41_779_200);
  t.equal(valueOf(told, 'vmferry_migration_sent_bytes_total'), 41_820_100, 'the state as well');
  t.equal(valueOf(told, 'vmferry_migration_convergence_total', { reason: 'below-threshold' }), 1);
  t.equal(valueOf(told, 'vmferry_migration_queue_seconds', {}, '_sum'), 1.5);
  t.equal(valueOf(told, 'vmferry_migration_duration_seconds', { outcome: 'completed' }, '_sum'), 0.8125);
  const downtime = 'vmferry_migration_downtime_seconds';
  t.equal(valueOf(told, downtime, {}, '_sum'), 0.0065);
  t.equal(valueOf(told, downtime, { le: '0.005' }, '_bucket'), 0);
  t.equal(valueOf(told, downtime, { le: '0.01' }, '_bucket'), 1);
  const parts = ['pause', 'residual', 'state', 'verify', 'load', 'resume'].map((part) =>
    valueOf(told, 'vmferry_migration_downtime_part_seconds', { part }, '_sum'),
  );
  t.same(parts, [0.0005, 0.002, 0.001, 0, 0.001, 0.002]);
  for (const gauge of ['start_timestamp_seconds', 'link_bytes_per_second', 'residual_bytes']) {
    t.equal(valueOf(told, `vmferry_migration_${gauge}`), 0, `${gauge}: none runs`);
  }
});

await t.test('tells of the one that runs', async (t) => {
  const metrics = new AgentMetrics();
  const [round] = migrationResult().rounds;
  metrics.migrations.began(MIGRATION_ID, 0);
  const progress = { round: 0, pagesDone: 10, pagesTotal: 16_384, bytesPerSecond: 5e8 };
  const first = await scrape(metrics, {}, [migrationInfo({ phase: 'copying', progress })]);
  t.equal(valueOf(first, 'vmferry_migrations_running', { role: 'source' }), 1);
  t.equal(valueOf(first, 'vmferry_migration_link_bytes_per_second'), 5e8);
  t.equal(valueOf(first, 'vmferry_migration_residual_bytes'), 16_384 * 4096);
  metrics.migrations.roundCopied(MIGRATION_ID, round!);
  const others = [
    migrationInfo({ phase: 'copying' }),
    migrationInfo({ id: 'm-2', phase: 'queued' }),
    migrationInfo({ id: 'm-3', phase: 'ended' }),
    migrationInfo({ id: 'm-4', role: 'target', phase: 'copying' }),
  ];
  const second = await scrape(metrics, {}, others);
  t.equal(valueOf(second, 'vmferry_migrations_running', { role: 'source' }), 1);
  t.equal(valueOf(second, 'vmferry_migrations_running', { role: 'target' }), 1);
  t.equal(valueOf(second, 'vmferry_migration_link_bytes_per_second'), 1.025e9);
  t.equal(valueOf(second, 'vmferry_migration_dirty_bytes_per_second'), 5000 * 4096);
  t.equal(valueOf(second, 'vmferry_migration_residual_bytes'), 200 * 4096);
  t.ok(Math.abs(Date.now() / 1000 - valueOf(second, 'vmferry_migration_start_timestamp_seconds')) < 600);
});

await t.test('counts what goes wrong by its code, from zero on', async (t) => {
  const metrics = new AgentMetrics();
  const failed = { role: 'source', outcome: 'failed', code: 'link-lost' };
  t.equal(
    valueOf(await scrape(metrics), 'vmferry_migrations_total', failed),
    0,
    'a first one is an increase',
  );
  const error = new MigrationError('link-lost', 'gone').toJSON();
  migrate(metrics, migrationResult({ outcome: 'failed', error, convergence: null, downtimeMs: 0 }));
  // It never got its nodes.
  metrics.migrations.ended(
    migrationResult({
      id: 'm-2',
      outcome: 'cancelled',
      error: { ...error, code: 'cancelled' },
      wireBytes: 0,
      totalMs: 0,
      rounds: [],
    }),
  );
  metrics.migrations.refused(new MigrationError('target-out-of-memory', 'full'));
  metrics.migrations.incomingEnded(null);
  metrics.migrations.incomingEnded(new MigrationError('bad-frame', 'no'));
  metrics.migrations.incomingEnded(new MigrationError('cancelled', 'no'));
  const told = await scrape(metrics);
  const total = (role: string, outcome: string, code: string) =>
    valueOf(told, 'vmferry_migrations_total', { role, outcome, code });
  t.equal(total('source', 'failed', 'link-lost'), 1);
  t.equal(total('source', 'cancelled', 'cancelled'), 1);
  t.equal(total('target', 'completed', 'none'), 1);
  t.equal(total('target', 'failed', 'bad-frame'), 1);
  t.equal(total('target', 'cancelled', 'cancelled'), 1);
  t.equal(valueOf(told, 'vmferry_migrations_refused_total', { code: 'target-out-of-memory' }), 1);
  t.equal(valueOf(told, 'vmferry_migration_downtime_seconds', {}, '_count'), 0, 'no guest has moved');
  t.equal(valueOf(told, 'vmferry_migration_duration_seconds', { outcome: 'cancelled' }, '_count'), 0);
});

await t.test('an outcome that was unknown has its downtime when it is known', async (t) => {
  const metrics = new AgentMetrics();
  const error = new MigrationError('outcome-unknown', 'nobody answers').toJSON();
  migrate(metrics, migrationResult({ outcome: 'unknown', error, downtimeMs: 0 }));
  metrics.migrations.settled(migrationResult({ downtimeMs: 45_000 }));
  const told = await scrape(metrics);
  const labels = { role: 'source', outcome: 'unknown', code: 'outcome-unknown' };
  t.equal(valueOf(told, 'vmferry_migrations_total', labels), 1);
  t.equal(valueOf(told, 'vmferry_migrations_settled_total', { outcome: 'completed' }), 1);
  t.equal(valueOf(told, 'vmferry_migration_downtime_seconds', {}, '_sum'), 45);
});

await t.test('nonsense of a peer upsets no counter and makes no label', async (t) => {
  const metrics = new AgentMetrics();
  const series = async () => [...(await scrape(metrics)).values()].flatMap(({ samples }) => samples).length;
  const before = await series();
  const error = new MigrationError('peer-failed', HOSTILE);
  for (const bad of [NaN, -1, Infinity, -Infinity]) {
    const downtime = {
      pauseMs: bad,
      residualMs: bad,
      stateMs: bad,
      verifyMs: bad,
      loadMs: bad,
      resumeMs: bad,
    };
    const rounds = migrationResult().rounds.map((round) => ({ ...round, pages: bad, wireBytes: bad }));
    const names = { id: HOSTILE, vm: HOSTILE, from: HOSTILE, to: HOSTILE };
    migrate(metrics, migrationResult({ ...names, downtime, downtimeMs: bad, totalMs: bad, rounds }));
    migrate(metrics, migrationResult({ ...names, outcome: 'failed', error: error.toJSON(), wireBytes: bad }));
    metrics.migrations.incomingEnded(error);
    metrics.migrations.refused(error);
  }
  const guests = [guestInfo({ name: HOSTILE, failure: HOSTILE })];
  const told = await scrape(metrics, { guests }, [migrationInfo({ vm: HOSTILE, from: HOSTILE })]);
  const failed = { outcome: 'failed', code: 'peer-failed' };
  t.equal(valueOf(told, 'vmferry_migrations_total', { role: 'source', ...failed }), 4);
  t.equal(valueOf(told, 'vmferry_migrations_total', { role: 'target', ...failed }), 4);
  t.equal(valueOf(told, 'vmferry_migrations_refused_total', { code: 'peer-failed' }), 4);
  t.equal(valueOf(told, 'vmferry_ready'), 1);
  t.equal(valueOf(told, 'vmferry_drained'), 0);
  metrics.migrations.update([]);
  t.equal(await series(), before, 'no series has come');
  // What is configured may be odd: the format has to hold it.
  const odd = await scrape(metrics, { node: { ...nodeInfo, node: HOSTILE } });
  t.ok(odd.get('vmferry_build_info')?.samples.some(({ labels }) => labels['node'] === HOSTILE));
});

await t.test('tells what the node is', async (t) => {
  const metrics = new AgentMetrics();
  const entry = (state: QueueEntry['state']) => ({ state }) as QueueEntry;
  const decision = (name: JournalEntry['decision']) => ({ decision: name }) as JournalEntry;
  const state: Partial<NodeState> = {
    guests: [
      guestInfo(),
      guestInfo({ status: 'unknown', failure: 'it waits' }),
      guestInfo({ kind: 'qemu', writeLog: { kind: 'userfaultfd', reason: '' } }),
      guestInfo({ status: 'stopped', writeLog: null }),
    ],
    queue: [entry('running'), entry('waiting'), entry('waiting')],
    journal: [decision('committed'), decision('committed'), decision('commit-sent')],
    certificateExpiresAt: new Date(1_800_000_000_000),
  };
  const told = await scrape(metrics, state);
  const guests = (kind: string, status: string) => valueOf(told, 'vmferry_guests', { kind, status });
  t.same(
    [guests('embedded', 'running'), guests('embedded', 'unknown'), guests('qemu', 'running')],
    [1, 1, 1],
  );
  t.equal(guests('qemu', 'stray'), 0);
  t.equal(valueOf(told, 'vmferry_guests_failed'), 1);
  t.equal(valueOf(told, 'vmferry_guest_write_logs', { write_log: 'store-path' }), 2);
  t.equal(valueOf(told, 'vmferry_guest_write_logs', { write_log: 'userfaultfd' }), 1);
  t.equal(valueOf(told, 'vmferry_queue_migrations', { state: 'waiting' }), 2);
  t.equal(valueOf(told, 'vmferry_journal_entries', { decision: 'committed' }), 2);
  t.equal(valueOf(told, 'vmferry_journal_entries', { decision: 'taken-back' }), 0);
  t.equal(valueOf(told, 'vmferry_certificate_expiry_timestamp_seconds'), 1_800_000_000);
  t.equal(valueOf(told, 'vmferry_guest_memory_limit_bytes'), 4_294_967_296);
  t.equal(valueOf(told, 'vmferry_connections', { type: 'api' }), 3);
  t.equal(valueOf(told, 'vmferry_peers'), 1);
  t.equal(valueOf(told, 'vmferry_protocol_version', { bound: 'max' }), 1);
  t.same(told.get('vmferry_build_info')?.samples, [
    {
      name: 'vmferry_build_info',
      labels: { node: 'a', version: '0.1.0', nodejs: process.version },
      value: 1,
    },
  ]);
  const later = await scrape(metrics, { ready: false, node: { ...nodeInfo, drained: true } });
  t.equal(valueOf(later, 'vmferry_ready'), 0);
  t.equal(valueOf(later, 'vmferry_drained'), 1);
  t.equal(valueOf(later, 'vmferry_guests', { kind: 'qemu', status: 'running' }), 0);
  t.same(later.get('vmferry_guest_write_logs')?.samples, [], 'what is in use no more is gone');
  const withoutTls = await scrape(new AgentMetrics());
  t.same(withoutTls.get('vmferry_certificate_expiry_timestamp_seconds')?.samples, [], 'no time of 1970');
});

await t.test('names, units and help are as promtool wants them', async () => {
  const metrics = new AgentMetrics();
  migrate(metrics);
  await promtool(['check', 'metrics'], await metrics.text({ ...STATE, migrations: [] }));
});

await t.test('OPERATIONS.md lists each metric with its type and its labels', async (t) => {
  const metrics = new AgentMetrics();
  migrate(metrics);
  const told = await scrape(metrics, { guests: [guestInfo()] });
  const labelsOf = (name: string) => {
    const labels = new Set(told.get(name)?.samples.flatMap((sample) => Object.keys(sample.labels)));
    labels.delete('le');
    return [...labels].sort();
  };
  const own = [...told.values()].filter(({ name }) => name.startsWith('vmferry_'));
  const rows = [
    ...readFileSync('OPERATIONS.md', 'utf8').matchAll(/^\| `(vmferry_\w+)` \| (\w+) \|([^|]*)\|/gm),
  ];
  t.same(
    rows.map(([, name, type, labels = '']) => [
      name,
      type,
      [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort(),
    ]),
    own.map(({ name, type }) => [name, type, labelsOf(name)]),
  );
});
