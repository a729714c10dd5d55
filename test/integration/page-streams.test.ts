import { readdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { PAGES_BY_WEBSOCKET } from '../../agent/link/link-paths.js';
import type { MigrationEvent } from '../../shared/api.js';
import { AgentLab } from '../support/agent-lab.js';
import { openFiles } from '../support/open-files.js';

/** How pages travel between agents that are processes of their own. */

const MIB = 2 ** 20;
const WRITER = {
  program: 'dirty',
  memory: 16 * MIB,
  parameters: { workingSetPages: 2048, pagesPerSecond: 2000 },
} as const;

await t.test('over TCP, with any number of streams, verified', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  await lab.boot('a', { name: 'one', ...WRITER });
  let [here, there] = ['a', 'b'];
  for (const streams of [1, 2, 4, 16]) {
    for (const verify of ['strict', 'after'] as const) {
      const result = await lab.migrate('one', here, there, { streams, verify });
      const expected = {
        outcome: 'completed',
        error: null,
        streams: { transport: 'tcp', open: streams, used: streams },
        verify: { mode: verify, mismatches: 0 },
      };
      t.match(result, expected, `${streams} streams, ${verify}`);
      t.equal(result.streams?.finding, undefined);
      t.ok(result.verify.pagesChecked >= 2048);
      t.strictSame(await lab.whereIs('one'), { [there]: 'running' });
      [here, there] = [there, here];
    }
  }
});

await t.test('over WebSocket, where one side wants it or the target can not reach the source', async (t) => {
  const cases: [string, (node: string) => object, RegExp | null][] = [
    ['the source wants it', (node) => (node === 'a' ? { link: { pages: 'websocket' } } : {}), null],
    ['the target wants it', (node) => (node === 'b' ? { link: { pages: 'websocket' } } : {}), null],
    [
      'the target has no address of the source',
      (node) => (node === 'b' ? { peers: {} } : {}),
      /node a is not among the peers/,
    ],
    [
      'the target has a wrong one',
      (node) => (node === 'b' ? { peers: { a: 'http://127.0.0.1:1' } } : {}),
      /node a cannot be reached/,
    ],
  ];
  for (const [what, settings, message] of cases) {
    await t.test(what, async (t) => {
      const lab = await AgentLab.start(t, ['a', 'b'], settings);
      await lab.boot('a', { name: 'one', ...WRITER });
      const result = await lab.migrate('one', 'a', 'b', { streams: 2, verify: 'after' });
      t.match(result, {
        outcome: 'completed',
        streams: { transport: 'websocket', open: 2, used: 2 },
        verify: { mismatches: 0 },
      });
      t.strictSame(await lab.whereIs('one'), { b: 'running' });
      const finding = result.streams?.finding;
      if (message === null) t.equal(finding, undefined);
      else {
        t.match(finding, {
          level: 'warning',
          code: PAGES_BY_WEBSOCKET,
          message,
          remedy: /let the target reach the agent of node a/,
        });
      }
    });
  }
  await t.test('an address at which another agent answers', async (t) => {
    const other = await AgentLab.start(t, ['c']);
    const lab = await AgentLab.start(t, ['a', 'b'], (node) =>
      node === 'b' ? { peers: { a: other.agent('c').url } } : {},
    );
    await lab.boot('a', { name: 'one', ...WRITER });
    const { exitCode, stdout } = await lab.command('a', 'migrate', 'one', '--to', 'b');
    t.equal(exitCode, 0);
    t.match(stdout, /warning: pages come over WebSocket, slower than over TCP: node a refused/);
  });
});

await t.test('nothing is left of migrations that were cancelled or that completed', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  await lab.boot('a', { name: 'one', ...WRITER, parameters: { workingSetPages: 2048, pagesPerSecond: 0 } });
  const held = (node: string) => {
    const pid = lab.agent(node).process.pid!;
    const files = openFiles(pid);
    const sockets = files.filter((file) => file.startsWith('socket:')).length;
    return { sockets, others: files.length - sockets, threads: readdirSync(`/proc/${pid}/task`).length };
  };
  const quiet = async (node: string) => {
    while ((await lab.client(node).queue()).length > 0) await setImmediate();
  };
  const cancelled = async () => {
    const id = await lab.request('one', 'a', 'b', { streams: 2, bandwidthBytesPerSecond: MIB });
    await lab.copying('a', id);
    t.match(await lab.client('a').cancelMigration(id), { result: { outcome: 'cancelled' } });
  };
  const moved = async (from: string, to: string) => {
    const expected = { outcome: 'completed', streams: { transport: 'tcp' } };
    t.match(await lab.migrate('one', from, to, { streams: 2 }), expected);
  };
  // What is made once is there after some of each.
  for (let i = 0; i < 3; i += 1) {
    await cancelled();
    await moved('a', 'b');
    await moved('b', 'a');
  }
  for (const node of ['a', 'b']) await quiet(node);
  const before = { a: held('a'), b: held('b') };
  for (let i = 0; i < 20; i += 1) await cancelled();
  for (let i = 0; i < 10; i += 1) {
    await moved('a', 'b');
    await moved('b', 'a');
  }
  for (const node of ['a', 'b'] as const) {
    await quiet(node);
    // Connections of this process to the agent come and go, and what ends does so a moment later.
    const most = { ...before[node], sockets: before[node].sockets + 2 };
    const above = () => {
      const now = held(node);
      return now.sockets > most.sockets || now.others > most.others || now.threads > most.threads;
    };
    while (above()) await setImmediate();
    t.pass(`node ${node} holds ${JSON.stringify(held(node))}, before ${JSON.stringify(before[node])}`);
  }
  t.strictSame(await lab.whereIs('one'), { a: 'running' });
  t.equal((await lab.client('b').status()).node.memoryUsedBytes, 0);
});

await t.test('the bandwidth', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b']);
  await lab.boot('a', { name: 'one', ...WRITER });
  const client = lab.client('a');
  const firstRound = (event: MigrationEvent) => event.event === 'round' && event.round.round === 0;

  await t.test('so low that nothing moves, until it is lifted while it runs', async (t) => {
    for (const streams of [1, 2]) {
      const id = await lab.request('one', 'a', 'b', { streams, bandwidthBytesPerSecond: 8000 });
      await lab.copying('a', id);
      t.match(await client.limitMigration(id, 8002), { id, bandwidthBytesPerSecond: 8002 });
      const { migrations } = await client.status();
      t.match(
        migrations.find((migration) => migration.id === id),
        { phase: 'copying', bandwidthBytesPerSecond: 8002, result: null },
      );
      t.match(await client.limitMigration(id, 0), { bandwidthBytesPerSecond: 0 });
      await lab.event('a', id, firstRound);
      t.match(await lab.result('a', id), { outcome: 'completed', error: null });
      await t.rejects(client.limitMigration(id, 8005), {
        code: 'wrong-state',
        message: /has ended: it is completed/,
      });
      t.match(await lab.migrate('one', 'b', 'a'), { outcome: 'completed' });
    }
  });
  await t.test('lowered while it runs, and cancelled so', async (t) => {
    const id = await lab.request('one', 'a', 'b', { bandwidthBytesPerSecond: MIB });
    await lab.copying('a', id);
    t.match(await client.limitMigration(id, 8000), { bandwidthBytesPerSecond: 8000 });
    t.match(await client.cancelMigration(id), { result: { outcome: 'cancelled' } });
    t.strictSame(await lab.whereIs('one', ['a']), { a: 'running' });
  });
  await t.test('changed while it waits for its nodes', async (t) => {
    await lab.boot('a', { name: 'two', ...WRITER });
    const first = await lab.request('one', 'a', 'b', { bandwidthBytesPerSecond: 8000 });
    await lab.copying('a', first);
    const second = await lab.request('two', 'a', 'b', { bandwidthBytesPerSecond: 8000 });
    await lab.waiting('a', second);
    t.match(await client.limitMigration(second, 0), { phase: 'queued', bandwidthBytesPerSecond: 0 });
    await client.cancelMigration(first);
    t.match(await lab.result('a', second), { outcome: 'completed' });
  });
  await t.test('of no migration that is known, and of no sense', async (t) => {
    await t.rejects(client.limitMigration('m-000000000000', 8000), { code: 'not-found' });
    for (const wrong of [-1, 0.5, 1e13]) {
      await t.rejects(client.limitMigration('m-000000000000', wrong), { code: 'invalid-request' });
    }
  });
});

await t.test('tests of the link', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b'], (node) => ({
    guestMemory: node === 'a' ? '192MiB' : '64MiB',
  }));
  await lab.boot('a', { name: 'one', ...WRITER });
  const client = lab.client('a');
  const scratch = () => readdirSync('/dev/shm').filter((name) => name.startsWith('vmferry-scratch-'));
  const before = scratch();
  const own = () => scratch().filter((name) => !before.includes(name)).length;
  /** Nothing of a test is left on either side. */
  const cleared = async () => {
    for (const node of ['a', 'b']) {
      while ((await lab.client(node).queue()).length > 0) await setImmediate();
    }
    while (own() > 0) await setImmediate();
  };

  await t.test('with memory of both kinds', async (t) => {
    for (const memory of ['embedded', 'qemu'] as const) {
      for (const streams of [1, 2, 'auto'] as const) {
        const result = await client.testLink({ to: 'b', memory, bytes: 32 * MIB, rounds: 3, streams });
        t.match(result, { from: 'a', to: 'b', memory, bytes: 32 * MIB, streams: { transport: 'tcp' } });
        t.equal(result.bytesPerSecond.length, 3);
        t.ok(result.wireBytes > 3 * 32 * MIB, 'nothing of it was zero');
        t.ok(result.wireBytes < 3 * 33 * MIB);
      }
    }
    await cleared();
  });
  await t.test('one while a migration runs waits for its end', async (t) => {
    const id = await lab.request('one', 'a', 'b', { bandwidthBytesPerSecond: 8000 });
    await lab.copying('a', id);
    const testing = client.testLink({ to: 'b', bytes: MIB, rounds: 2 });
    while (!(await client.queue()).some(({ vm }) => vm === 'link-test')) await setImmediate();
    t.match(await client.queue(), [
      { migration: id, state: 'running' },
      { vm: 'link-test', state: 'waiting' },
    ]);
    await client.limitMigration(id, 0);
    t.match(await lab.result('a', id), { outcome: 'completed' });
    t.match(await testing, { to: 'b', bytes: MIB });
    await cleared();
    t.match(await lab.migrate('one', 'b', 'a'), { outcome: 'completed' });
  });
  await t.test('a client that goes away ends it: while it waits, and while it runs', async (t) => {
    const post = (signal: AbortSignal, memory: string) =>
      fetch(`${lab.agent('a').url}/v1/link-tests`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          ...{ to: 'b', bytes: 16 * MIB, rounds: 100, memory },
          ...{ bandwidthBytesPerSecond: 8000, streams: 2 },
        }),
        signal,
      });
    for (const memory of ['embedded', 'qemu']) {
      const leave = new AbortController();
      const running = t.rejects(post(leave.signal, memory), { name: 'AbortError' });
      while (!(await lab.client('b').queue()).some(({ state }) => state === 'running')) await setImmediate();
      const leaveToo = new AbortController();
      const waiting = t.rejects(post(leaveToo.signal, memory), { name: 'AbortError' });
      while ((await client.queue()).length < 2) await setImmediate();
      leaveToo.abort();
      await waiting;
      while ((await client.queue()).length > 1) await setImmediate();
      leave.abort();
      await running;
      await cleared();
    }
    t.match(await client.testLink({ to: 'b', bytes: MIB, rounds: 2 }), { to: 'b' });
  });
  await t.test('what can not be', async (t) => {
    for (const [node, mib] of [
      ['b', 128],
      ['a', 256],
    ] as const) {
      await t.rejects(client.testLink({ to: 'b', bytes: mib * MIB, rounds: 2 }), {
        code: 'target-out-of-memory',
        message: new RegExp(`node ${node} has no ${mib} MiB of guest memory free for a link test`),
      });
    }
    await t.rejects(client.testLink({ to: 'a' }), { code: 'same-node' });
    await t.rejects(client.testLink({ to: 'z' }), { code: 'unknown-node' });
    for (const wrong of [{ bytes: 4095 }, { rounds: 1 }, { rounds: 101 }, { streams: 0 }]) {
      await t.rejects(client.testLink({ to: 'b', ...wrong }), { code: 'invalid-request' });
    }
    await cleared();
  });
  await t.test('an agent that shuts down in the middle of one keeps no memory of it', async (t) => {
    for (const node of ['b', 'a']) {
      const request = {
        to: 'b',
        memory: 'qemu',
        bytes: MIB,
        rounds: 100,
        bandwidthBytesPerSecond: 8000,
      } as const;
      const failed = t.rejects(client.testLink(request), {
        code: 'shutting-down',
        message: new RegExp(`node ${node}(: the agent)? is shutting down`),
      });
      while (own() < 2) await setImmediate();
      t.equal(await lab.agent(node).stop(), 0);
      await failed;
      await lab.restart(node);
      await cleared();
    }
  });
});
