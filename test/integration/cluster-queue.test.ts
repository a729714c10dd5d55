import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { MigrationResult } from '../../shared/api.js';
import { OVERTAKE_LIMIT } from '../../shared/lock-limits.js';
import { Cluster } from '../support/cluster.js';

interface Span {
  id: string;
  from: string;
  to: string;
  order: number;
  /** Index in the sequence of all starts and ends. */
  start: number;
  end: number;
  result: MigrationResult;
}

void t.test('sixteen nodes, forty guests, forty migrations asked for at once', async (t) => {
  const names = Array.from({ length: 16 }, (_, i) => `n${String(i).padStart(2, '0')}`);
  const cluster = await Cluster.start(names);
  t.teardown(() => cluster.close());
  const plan = Array.from({ length: 40 }, (_, i) => ({
    vm: `vm${i}`,
    from: names[(i * 7) % 16]!,
    to: names[(i * 7 + 1 + ((i * 5) % 15)) % 16]!,
  }));
  for (const { vm, from } of plan) await cluster.boot(from, { name: vm });

  let clock = 0;
  let running = 0;
  let most = 0;
  const busy = new Map<string, string>();
  const spans = await Promise.all(
    plan.map(async ({ vm, from, to }, order): Promise<Span> => {
      const { id } = await cluster.service(from).startMigration({ vm, to, options: {} });
      const span = { id, from, to, order, start: -1, end: -1 };
      for await (const event of cluster.service(from).migrationEvents(id, 0, new AbortController().signal)) {
        if (event.event === 'phase' && event.phase === 'preparing') {
          span.start = clock++;
          running += 1;
          most = Math.max(most, running);
          for (const node of [from, to]) {
            t.equal(busy.get(node), undefined, `node ${node} is free when ${vm} starts`);
            busy.set(node, vm);
          }
        }
        if (event.event === 'phase' && event.phase === 'completing') {
          span.end = clock++;
          running -= 1;
          for (const node of [from, to]) busy.delete(node);
        }
        if (event.event === 'ended') return { ...span, result: event.result };
      }
      throw new Error('the events ended early');
    }),
  );
  t.ok(
    spans.every(({ result }) => result.outcome === 'completed'),
    'all complete',
  );
  t.ok(most <= 8, `at most eight at a time (${most})`);
  t.ok(most >= 4, `nodes are not left idle (${most} at a time)`);
  for (const { vm, to } of plan) t.strictSame(cluster.whereIs(vm), [{ node: to, status: 'running' }]);
  for (const span of spans) {
    for (const node of [span.from, span.to]) {
      const overtakers = spans.filter(
        (other) =>
          other.order > span.order && other.start < span.start && (other.from === node || other.to === node),
      );
      t.ok(
        overtakers.length <= OVERTAKE_LIMIT,
        `${span.id} was overtaken ${overtakers.length} times at ${node}`,
      );
    }
  }
  // The release at the other node is a message on its way.
  for (const { agent } of cluster.nodes) while (agent.service.queue().length > 0) await setImmediate();
});

void t.test(
  'a migration with priority goes before those that wait, and one that is not to wait fails',
  async (t) => {
    const cluster = await Cluster.start(['a', 'b', 'c']);
    t.teardown(() => cluster.close());
    const names = ['runs', 'waits', 'hurries', 'stands-back', 'leaves'];
    for (const name of names) await cluster.boot('a', { name });
    const a = cluster.service('a');
    const slow = { bandwidthBytesPerSecond: 8000, maxRounds: 1 };
    const { id: running } = await a.startMigration({ vm: 'runs', to: 'b', options: slow });
    while ((await a.migration(running)).phase !== 'copying') await setImmediate();
    const ids: Record<string, string> = {};
    for (const [vm, priority] of Object.entries({ 'stands-back': -1, waits: 0, hurries: 1 })) {
      ids[vm] = (await a.startMigration({ vm, to: 'c', options: {}, priority })).id;
    }
    for (const node of ['a', 'c']) {
      while (
        cluster
          .service(node)
          .queue()
          .filter(({ state }) => state === 'waiting').length < 3
      )
        await setImmediate();
      t.strictSame(
        cluster
          .service(node)
          .queue()
          .filter(({ state }) => state === 'waiting')
          .map(({ vm, priority }) => [vm, priority]),
        [
          ['hurries', 1],
          ['waits', 0],
          ['stands-back', -1],
        ],
        `the queue of node ${node}`,
      );
    }

    const unwilling = await a.startMigration({ vm: 'leaves', to: 'c', options: {}, wait: false });
    const refused = await cluster.result('a', unwilling.id);
    t.match(refused, { outcome: 'failed', error: { code: 'pair-busy', retryable: true } });
    t.match(refused.error?.message, `node a runs migration ${running}`);
    t.strictSame(cluster.whereIs('leaves'), [{ node: 'a', status: 'running' }]);

    a.limitMigration(running, 0);
    const order: string[] = [];
    const follow = async (vm: string) => {
      for await (const event of a.migrationEvents(ids[vm]!, 0, new AbortController().signal)) {
        if (event.event === 'phase' && event.phase === 'preparing') order.push(vm);
      }
    };
    await Promise.all(Object.keys(ids).map(follow));
    t.strictSame(order, ['hurries', 'waits', 'stands-back']);
    await cluster.cleared('a', names);
    const free = await a.startMigration({ vm: 'leaves', to: 'c', options: {}, wait: false });
    t.match(await cluster.result('a', free.id), { outcome: 'completed' }, 'it does not have to wait now');
    t.strictSame(
      a.history().map(({ vm, outcome }) => [vm, outcome]),
      [
        ['leaves', 'completed'],
        ['stands-back', 'completed'],
        ['waits', 'completed'],
        ['hurries', 'completed'],
        ['runs', 'completed'],
        ['leaves', 'failed'],
      ],
    );
  },
);

void t.test('A to B and B to A asked for at the same moment', async (t) => {
  const cluster = await Cluster.start(['a', 'b']);
  t.teardown(() => cluster.close());
  await cluster.boot('a', { name: 'there' });
  await cluster.boot('b', { name: 'back' });
  const results = await Promise.all([cluster.migrate('there', 'a', 'b'), cluster.migrate('back', 'b', 'a')]);
  t.strictSame(
    results.map(({ outcome }) => outcome),
    ['completed', 'completed'],
  );
  t.strictSame(cluster.whereIs('there'), [{ node: 'b', status: 'running' }]);
  t.strictSame(cluster.whereIs('back'), [{ node: 'a', status: 'running' }]);
});
