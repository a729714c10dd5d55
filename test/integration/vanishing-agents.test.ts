import t from 'tap';
import { AgentLab } from '../support/agent-lab.js';

/** Agents that die or fall silent in the middle of migrations: nobody else is blocked, and guests that can run on do. */

/** 1 MiB that is populated at once. */
const GUEST = {
  program: 'dirty',
  memory: 2 ** 21,
  parameters: { workingSetPages: 256, pagesPerSecond: 0 },
} as const;

/** A round takes seconds: the migration is under way until something ends it. */
const ENDLESS = { bandwidthBytesPerSecond: 2 ** 18 };

const SETTINGS = {
  lock: { grace: '300ms' },
  link: { heartbeat: '100ms', silence: '1s' },
};

await t.test('an agent that waits, one that holds the lock, and a target vanish', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b', 'c', 'd'], SETTINGS);
  await Promise.all(['a', 'c', 'd'].map((node) => lab.boot(node, { name: `of-${node}`, ...GUEST })));

  const endless = await lab.request('of-a', 'a', 'b', ENDLESS);
  await lab.copying('a', endless);
  const lost = await lab.request('of-c', 'c', 'b');
  await lab.waiting('c', lost);
  const next = await lab.request('of-d', 'd', 'b');
  await lab.waiting('d', next);
  await lab.agent('c').kill();
  await lab.client('a').cancelMigration(endless);
  t.match(await lab.result('d', next), { outcome: 'completed' }, 'a waiter that is gone blocks nobody');
  t.strictSame(await lab.whereIs('of-d', ['a', 'b', 'd']), { b: 'running' });
  await lab
    .agent('b')
    .logged(({ msg, migration }) => /lease ran out/.test(String(msg)) && migration === lost);

  const held = await lab.request('of-a', 'a', 'b', ENDLESS);
  await lab.copying('a', held);
  const behind = await lab.request('of-d', 'b', 'd');
  await lab.waiting('b', behind);
  await lab.agent('a').kill();
  t.match(await lab.result('b', behind), { outcome: 'completed' }, 'nor does a holder that is gone');
  t.strictSame(await lab.whereIs('of-a', ['b', 'd']), {}, 'whose guest the target has dropped');
  t.strictSame(await lab.whereIs('of-d', ['b', 'd']), { d: 'running' });

  await lab.restart('a');
  t.match(
    await lab.client('a').guests(),
    [{ name: 'of-a', status: 'stopped' }],
    'definitions outlive an agent',
  );

  const doomed = await lab.request('of-d', 'd', 'b', ENDLESS);
  await lab.copying('d', doomed);
  await lab.agent('b').kill();
  const failed = await lab.result('d', doomed);
  t.match(failed, { outcome: 'failed', error: { code: 'link-lost', retryable: true }, downtimeMs: 0 });
  t.strictSame(await lab.whereIs('of-d', ['a', 'd']), { d: 'running' }, 'the guest runs on at its source');
  await t.rejects(lab.request('of-d', 'd', 'b'), {
    code: 'peer-unreachable',
    message: /node b cannot be reached/,
  });
  t.match(
    await lab.migrate('of-d', 'd', 'a', { verify: 'strict' }),
    { outcome: 'completed' },
    'and moves elsewhere',
  );
  t.strictSame(await lab.whereIs('of-d', ['a', 'd']), { a: 'running' });
});

await t.test('a target that hangs is given up, and is of use again when it goes on', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b'], SETTINGS);
  await lab.boot('a', { name: 'guest', ...GUEST });
  const id = await lab.request('guest', 'a', 'b', ENDLESS);
  await lab.copying('a', id);
  lab.agent('b').process.kill('SIGSTOP');
  t.match(await lab.result('a', id), { outcome: 'failed', error: { code: 'link-lost', retryable: true } });
  t.strictSame(await lab.whereIs('guest', ['a']), { a: 'running' });

  lab.agent('b').process.kill('SIGCONT');
  await lab.agent('b').logged(({ migration, state }) => migration === id && state === 'aborted');
  t.match(await lab.migrate('guest', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
  t.strictSame(await lab.whereIs('guest'), { b: 'running' });
});
