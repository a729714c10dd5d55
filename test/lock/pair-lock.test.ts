import t from 'tap';
import { MigrationError } from '../../shared/errors.js';
import { remoteNodeLock } from '../../agent/lock/node-lock-port.js';
import { acquirePair, TRY_ANSWER_MS } from '../../agent/lock/pair-lock.js';
import { LockCluster } from './lock-cluster.js';
import { memoryControl } from './memory-control.js';
import { promisesSettled, VirtualTimers } from './virtual-timers.js';

void t.test('two migrations of one pair, asked for at the same moment from both sides', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const there = cluster.start('a', 'b');
  const back = cluster.start('b', 'a');
  await cluster.timers.advance(50);
  t.same(cluster.running(), [there], 'the tie is broken by the id');
  t.equal(cluster.lock('b').holder, there.id);
  cluster.finish(there);
  await cluster.timers.advance(50);
  t.same(cluster.running(), [back]);
  cluster.finish(back);
  await cluster.timers.advance(50);
  t.same([...cluster.lock('a').entries(), ...cluster.lock('b').entries()], []);
});

void t.test('a remote node that never says whether it is free does not keep the own one', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const mute = memoryControl(cluster.timers, () => 1);
  const held = acquirePair({
    request: { migration: 'm-mute', vm: 'vm', from: 'a', to: 'c', requestedAt: 0 },
    local: cluster.lock('a').localPort('m-mute', 'c'),
    remote: { node: 'c', connect: () => Promise.resolve(remoteNodeLock('c', mute.source)) },
    signal: new AbortController().signal,
    timers: cluster.timers,
  });
  const failed = t.rejects(held, { code: 'timeout', message: /node c did not say within 60000 ms/ });
  const next = cluster.start('a', 'b', 1);
  await cluster.timers.advance(TRY_ANSWER_MS - 100);
  t.same(cluster.running(), []);
  await cluster.timers.advance(200);
  await failed;
  t.same(cluster.running(), [next]);
  cluster.finish(next);
});

void t.test('released three times, and again after another has started', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const first = cluster.start('a', 'b');
  const second = cluster.start('a', 'b');
  await cluster.timers.advance(50);
  for (let times = 0; times < 3; times += 1) first.hold?.release();
  await cluster.timers.advance(50);
  first.hold?.release();
  await cluster.timers.advance(50);
  t.same(cluster.running(), [second]);
  t.equal(cluster.lock('b').holder, second.id);
  t.same(cluster.refusals, []);
});

/** Node b is busy; the one under test waits, is offered, passes, tries: in some number of steps it has it all. */
async function contended(): Promise<{ cluster: LockCluster; steps: number }> {
  const cluster = await scenario();
  let steps = 0;
  while (!cluster.migrations[2]!.hold && (await cluster.timers.step())) steps += 1;
  return { cluster, steps };
}

async function scenario(): Promise<LockCluster> {
  const cluster = new LockCluster(['a', 'b', 'c']);
  const first = cluster.start('b', 'c');
  const second = cluster.start('a', 'c');
  cluster.start('a', 'b');
  for (const migration of [first, second]) {
    void migration.waited.then(() => cluster.timers.after(7, () => cluster.finish(migration)));
  }
  await promisesSettled();
  return cluster;
}

void t.test('cancelled at every step, a waiter leaves both queues and the others go on', async (t) => {
  const { steps } = await contended();
  t.ok(steps > 10);
  for (let at = 0; at < steps; at += 1) {
    const cluster = await scenario();
    const [, , third] = cluster.migrations;
    for (let step = 0; step < at; step += 1) await cluster.timers.step();
    third!.cancel.abort();
    await third!.waited;
    t.equal(third!.error?.code, 'cancelled', `cancelled after ${at} steps`);
    await cluster.timers.advance(1000);
    t.same(
      [...cluster.nodes.values()].flatMap((lock) => lock.entries()),
      [],
    );
    t.ok(cluster.migrations[0]!.hold && cluster.migrations[1]!.hold);
    t.same(cluster.refusals, []);
  }
});

void t.test('whoever vanishes at whatever step blocks nobody past the grace period', async (t) => {
  const { steps } = await contended();
  for (const node of ['a', 'b', 'c']) {
    for (let at = 0; at <= steps; at += 1) {
      const cluster = await scenario();
      for (let step = 0; step < at; step += 1) await cluster.timers.step();
      cluster.vanish(node);
      for (const migration of cluster.migrations) {
        void migration.waited.then(() => {
          migration.hold?.lost.addEventListener('abort', () => cluster.finish(migration));
          if (migration.hold?.lost.aborted) cluster.finish(migration);
        });
      }
      await cluster.timers.advance(cluster.graceMs + 100);
      const left = [...cluster.nodes.values()].filter((lock) => lock.node !== node);
      const [d] = ['a', 'b', 'c'].filter((name) => name !== node);
      const entries = left.flatMap((lock) => lock.entries().filter(({ state }) => state === 'running'));
      t.ok(
        entries.every(({ from, to }) => from !== node && to !== node),
        `${node} vanished after ${at} steps`,
      );
      const other = ['a', 'b', 'c'].find((name) => name !== node && name !== d)!;
      const next = cluster.start(d!, other);
      for (const migration of cluster.running()) if (migration !== next) cluster.finish(migration);
      await cluster.timers.advance(100);
      t.ok(next.hold, 'and the nodes that are left migrate');
    }
  }
});

void t.test('a connection that breaks at any step of the wait comes back to its place', async (t) => {
  const { steps } = await contended();
  for (let at = 0; at < steps; at += 1) {
    const cluster = await scenario();
    const third = cluster.migrations[2]!;
    for (let step = 0; step < at; step += 1) await cluster.timers.step();
    third.links.at(-1)?.cut();
    await cluster.timers.advance(1000);
    t.ok(third.hold, `cut after ${at} steps`);
    // The cut may come when the lock is already given: then the migration is told.
    if (third.links.length === 1) t.ok(third.hold?.lost.aborted);
    else t.same(cluster.running(), [third]);
    t.same(cluster.refusals, []);
  }
});

void t.test('an earlier waiter keeps its place over a reconnection', async (t) => {
  const cluster = new LockCluster(['a', 'b', 'c']);
  const first = cluster.start('b', 'c');
  await cluster.timers.advance(20);
  const second = cluster.start('a', 'b');
  await cluster.timers.advance(20);
  const third = cluster.start('c', 'b');
  await cluster.timers.advance(20);
  second.links[0]!.cut();
  await cluster.timers.advance(1000);
  cluster.finish(first);
  await cluster.timers.advance(20);
  t.same(cluster.running(), [second]);
  t.notOk(third.hold);
});

void t.test('a waiter sees its place and what it waits for', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const first = cluster.start('a', 'b');
  const second = cluster.start('b', 'a');
  const third = cluster.start('a', 'b');
  await cluster.timers.advance(500);
  t.match(third.places.at(-1), { position: 2, state: 'waiting', overtaken: 0 });
  t.same(third.places.at(-1)?.waitsFor, [
    { node: 'a', holder: first.id },
    { node: 'b', holder: first.id },
  ]);
  second.cancel.abort();
  await cluster.timers.advance(500);
  t.match(third.places.at(-1), { position: 1 });
  t.ok(third.places.length < 10, 'and is not told of every move');
});

void t.test('no waiter is overtaken without end, wherever it is overtaken', async (t) => {
  // m waits for b, which long migrations take turns to hold; a is free between, and short ones of a come and come.
  for (const names of [
    ['a', 'b', 'c', 'd'],
    ['b', 'a', 'c', 'd'],
  ] as const) {
    const [shortNode, longNode, shortPeer, longPeer] = names;
    const cluster = new LockCluster(['a', 'b', 'c', 'd'], { overtakeLimit: 3 });
    const blocker = cluster.start(longNode, longPeer);
    await cluster.timers.advance(20);
    const waiter = cluster.start(shortNode, longNode);
    await cluster.timers.advance(20);
    let overtook = 0;
    for (let count = 0; count < 6; count += 1) {
      const short = cluster.start(shortPeer, shortNode);
      await cluster.timers.advance(300);
      if (short.hold) overtook += 1;
      cluster.finish(short);
      await cluster.timers.advance(300);
    }
    t.equal(overtook, 3, `${shortNode} is kept once its waiter was overtaken three times`);
    const late = cluster.start(longPeer, longNode);
    await cluster.timers.advance(300);
    cluster.finish(blocker);
    await cluster.timers.advance(300);
    t.ok(waiter.hold, 'it has both');
    t.notOk(late.hold, 'and the other node was kept for it too');
    t.equal(waiter.places.at(-1)?.overtaken, 3);
  }
});

void t.test('a hold that is lost says so', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const migration = cluster.start('a', 'b');
  await cluster.timers.advance(20);
  t.notOk(migration.hold?.lost.aborted);
  migration.links[0]!.cut();
  await cluster.timers.advance(20);
  t.match(migration.hold?.lost.reason, { code: 'link-lost' });
  t.equal(cluster.lock('b').holder, migration.id, 'the lease goes on for the grace period');
  await cluster.timers.advance(cluster.graceMs);
  t.equal(cluster.lock('b').holder, null);
  migration.hold?.release();
  t.equal(cluster.lock('a').holder, null);
});

void t.test(
  'a peer that cannot be reached at first ends the wait, as does one that stays away',
  async (t) => {
    const cluster = new LockCluster(['a', 'b', 'c']);
    cluster.start('b', 'c');
    const waiting = cluster.start('a', 'b');
    await cluster.timers.advance(20);
    cluster.vanish('b');
    const late = cluster.start('c', 'b');
    await late.waited;
    t.equal(late.error?.code, 'peer-unreachable');
    await cluster.timers.advance(cluster.graceMs + 20);
    t.match(waiting.error, {
      code: 'link-lost',
      message: /did not come back within 5000 ms: node b does not answer/,
    });
    t.same(cluster.lock('a').entries(), []);
  },
);

void t.test('a cancel before the start, with a reason of its own', async (t) => {
  const cluster = new LockCluster(['a', 'b']);
  const reason = new MigrationError('shutting-down', 'the agent is shutting down');
  const waits = acquirePair({
    request: { migration: 'migration-1', vm: 'vm', from: 'a', to: 'b', requestedAt: 0 },
    local: cluster.lock('a').localPort('migration-1', 'b'),
    remote: { node: 'b', connect: () => Promise.reject(new Error('not to be called')) },
    signal: AbortSignal.abort(reason),
  });
  await t.rejects(waits, reason);
});

void t.test('a peer that breaks the rules, or refuses, ends the wait with its error', async (t) => {
  const cases = [
    [{ type: 'lock-offer' }, 'unexpected-message'],
    [{ type: 'ready', loadMs: 1 }, 'unexpected-message'],
    [
      { type: 'error', code: 'limit-exceeded', message: 'the queue is full', retryable: true },
      'limit-exceeded',
    ],
  ] as const;
  for (const [message, code] of cases) {
    const cluster = new LockCluster(['a', 'b']);
    const timers = new VirtualTimers();
    const link = memoryControl(timers, () => 1);
    const waits = acquirePair({
      request: { migration: 'migration-1', vm: 'vm', from: 'b', to: 'a', requestedAt: 0 },
      local: cluster.lock('b').localPort('migration-1', 'a'),
      remote: { node: 'a', connect: () => Promise.resolve(remoteNodeLock('a', link.source)) },
      signal: new AbortController().signal,
      timers,
    });
    await link.target.send(message);
    const rejected = t.rejects(waits, { code });
    await timers.advance(20);
    await rejected;
    t.same(cluster.lock('b').entries(), [], 'and the local queue is left');
  }
});
