import t from 'tap';
import { Cluster } from '../support/cluster.js';

/** Far less than the guests write: they don't converge. bytes/s */
const SLOW = 4 * 2 ** 20;

const WRITER = {
  memory: 8 * 2 ** 20,
  program: 'dirty',
  parameters: { pagesPerSecond: 100_000, workingSetPages: 1024 },
} as const;

void t.test('with the lock disabled two migrations of one pair run at the same time', async (t) => {
  const cluster = await Cluster.start(['a', 'b'], { lock: { disabledForBenchmark: true } });
  t.teardown(() => cluster.close());
  const names = ['one', 'two'];
  for (const name of names) await cluster.boot('a', { name, ...WRITER });

  const a = cluster.service('a');
  const options = { bandwidthBytesPerSecond: SLOW, stallRounds: 1000 };
  const ids = await Promise.all(
    names.map(async (vm) => (await a.startMigration({ vm, to: 'b', options })).id),
  );
  const copying = ids.map(async (id) => {
    for await (const event of a.migrationEvents(id, -1, new AbortController().signal)) {
      if (event.event === 'phase' && event.phase === 'copying') return;
    }
    throw new Error(`migration ${id} never copied`);
  });
  await Promise.all(copying);
  t.same(
    a.migrations().map(({ phase }) => phase),
    ['copying', 'copying'],
  );
  t.same(
    cluster
      .service('b')
      .queue()
      .map(({ state }) => state),
    ['running', 'running'],
  );
  await Promise.all(ids.map((id) => a.cancelMigration(id)));
  await cluster.cleared('b');
  for (const vm of names) t.same(cluster.whereIs(vm), [{ node: 'a', status: 'running' }]);
});

void t.test('an agent whose lock is disabled says so', async (t) => {
  const cluster = await Cluster.start(['a'], { lock: { disabledForBenchmark: true } });
  t.teardown(() => cluster.close());
  const [{ agent, log }] = cluster.nodes as [(typeof cluster.nodes)[0]];
  const { ok, findings } = await agent.service.doctor();
  const [warning] = findings;
  t.match(warning, { level: 'warning', code: 'lock-disabled', remedy: /lock\.disabledForBenchmark/ });
  t.type(ok, 'boolean');
  t.ok(log.some(({ level, msg }) => level === 40 && msg === warning?.message));
});

void t.test('an agent tells what its process takes', async (t) => {
  const cluster = await Cluster.start(['a']);
  t.teardown(() => cluster.close());
  const before = cluster.service('a').node().process;
  t.ok(before.cpuMs > 0 && before.residentBytes > 2 ** 20, JSON.stringify(before));
  await cluster.boot('a', { name: 'one' });
  t.ok(cluster.service('a').node().process.cpuMs >= before.cpuMs);
});
