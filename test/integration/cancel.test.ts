import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { MigrationEvent } from '../../shared/api.js';
import { Cluster } from '../support/cluster.js';

/** A guest with 1 MiB that is populated, sent over a link so slow that a round lasts for seconds. */
const GUEST = {
  program: 'dirty',
  memory: 2 ** 21,
  parameters: { workingSetPages: 256, pagesPerSecond: 0 },
} as const;
const SLOW = { bandwidthBytesPerSecond: 2 ** 18 };

async function clusterOf(t: Test, guests: Record<string, string>) {
  const cluster = await Cluster.start(['a', 'b', 'c', 'd']);
  t.teardown(() => cluster.close());
  for (const [name, node] of Object.entries(guests)) await cluster.boot(node, { name, ...GUEST });
  const request = async (vm: string, to: string, options: object = {}) =>
    (await cluster.service(guests[vm]!).startMigration({ vm, to, options })).id;
  const until = async (node: string, id: string, matches: (event: MigrationEvent) => boolean) => {
    for await (const event of cluster.service(node).migrationEvents(id, -1, new AbortController().signal)) {
      if (matches(event)) return event;
    }
    throw new Error(`the events of ${id} ended`);
  };
  return { cluster, request, until };
}

const copying = (event: MigrationEvent) => event.event === 'phase' && event.phase === 'copying';
const behind = (holder: string) => (event: MigrationEvent) =>
  event.event === 'queue' && event.queue.waitsFor.some((wait) => wait.holder === holder);

await t.test('a waiting one leaves both queues, and those behind it move up', async (t) => {
  const { cluster, request, until } = await clusterOf(t, { one: 'a', two: 'c', three: 'd' });
  const running = await request('one', 'b', SLOW);
  await until('a', running, copying);
  const second = await request('two', 'b');
  await until('c', second, behind(running));
  const third = await request('three', 'b');
  await until('d', third, behind(running));
  t.match(cluster.service('b').queue(), [
    { migration: running, state: 'running', position: 0 },
    { migration: second, state: 'waiting', position: 1 },
    { migration: third, state: 'waiting', position: 2, waitsFor: [{ node: 'b', holder: running }] },
  ]);

  const cancelled = await cluster.service('c').cancelMigration(second);
  t.match(cancelled, {
    phase: 'ended',
    result: { outcome: 'cancelled', error: { code: 'cancelled' }, rounds: [] },
  });
  t.strictSame(cluster.service('c').queue(), []);
  // The other node hears of it by a message.
  while (cluster.service('b').queue().length > 2) await setImmediate();
  t.match(cluster.service('b').queue(), [
    { migration: running, state: 'running', position: 0 },
    { migration: third, state: 'waiting', position: 1 },
  ]);
  t.strictSame(cluster.whereIs('two'), [{ node: 'c', status: 'running' }]);

  await cluster.service('a').cancelMigration(running);
  t.equal((await cluster.result('d', third)).outcome, 'completed', 'the one behind goes on');
  await cluster.cleared('b', ['three']);
  t.strictSame(cluster.whereIs('one'), [{ node: 'a', status: 'running' }]);
});

await t.test('in the middle of a round: the guest runs on, the target keeps nothing', async (t) => {
  const { cluster, request, until } = await clusterOf(t, { one: 'a' });
  const id = await request('one', 'b', SLOW);
  await until('a', id, copying);
  t.match(cluster.whereIs('one'), [
    { node: 'a', status: 'running' },
    { node: 'b', status: 'incoming' },
  ]);
  const [first, second] = await Promise.all([
    cluster.service('a').cancelMigration(id),
    cluster.service('a').cancelMigration(id),
  ]);
  t.match(first, {
    phase: 'ended',
    result: { outcome: 'cancelled', error: { code: 'cancelled' }, downtimeMs: 0 },
  });
  t.strictSame(second, first, 'two who cancel at once hear the same');
  await t.rejects(cluster.service('a').cancelMigration(id), {
    code: 'wrong-state',
    message: /ended already/,
  });

  const again = await cluster.migrate('one', 'a', 'b', { verify: 'strict' });
  t.match(again, { outcome: 'completed', verify: { mismatches: 0 } }, 'tried again at once');
  t.strictSame(cluster.whereIs('one'), [{ node: 'b', status: 'running' }]);
  await cluster.cleared('b', ['one']);
});

await t.test('too late once the commit is sent', async (t) => {
  const { cluster, request, until } = await clusterOf(t, { one: 'a' });
  const id = await request('one', 'b');
  await until('a', id, (event) => event.event === 'phase' && event.phase === 'committing');
  await t.rejects(cluster.service('a').cancelMigration(id), {
    code: /^(too-late|wrong-state)$/,
    message: /can no longer be cancelled|has ended already: it is completed/,
  });
  t.equal((await cluster.result('a', id)).outcome, 'completed');
  t.strictSame(cluster.whereIs('one'), [{ node: 'b', status: 'running' }]);
});

await t.test('one that does not exist', async (t) => {
  const { cluster } = await clusterOf(t, {});
  await t.rejects(cluster.service('a').cancelMigration('m-000000000000'), {
    code: 'not-found',
    message: /ask the agent of the node that it started from/,
  });
});
