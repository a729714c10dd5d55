import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { AgentLab } from '../support/agent-lab.js';

/** SIGTERM in the middle of a migration: it is finished or cancelled, and the log says which. */

const GUEST = {
  program: 'dirty',
  memory: 2 ** 21,
  parameters: { workingSetPages: 256, pagesPerSecond: 0 },
} as const;

/** A second or two: long enough to be met, short enough to be finished. */
const BRIEF = { bandwidthBytesPerSecond: 2 ** 20, maxRounds: 1 };
const ENDLESS = { bandwidthBytesPerSecond: 2 ** 18 };

/** a finishes its migrations when it shuts down, b and c cancel them. */
const settings = (node: string) => ({ shutdown: { migrations: node === 'a' ? 'finish' : 'cancel' } });

async function nothingListens(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}

await t.test('the source finishes the one that runs, and the one that waits is kept', async (t) => {
  const lab = await AgentLab.start(t, ['a', 'b', 'c'], settings);
  await lab.boot('a', { name: 'runs', ...GUEST });
  await lab.boot('a', { name: 'waits', ...GUEST });
  const running = await lab.request('runs', 'a', 'b', BRIEF);
  await lab.copying('a', running);
  const waiting = await lab.request('waits', 'a', 'c');
  await lab.waiting('a', waiting);
  const { log, url } = lab.agent('a');

  t.equal(await lab.agent('a').stop(), 0);
  const ended = log.filter(({ msg }) => msg === 'migration ended before the shutdown');
  t.match(ended, [{ migration: running, vm: 'runs', outcome: 'completed' }]);
  t.equal(ended.length, 1);
  t.match(
    log.find(({ msg }) => msg === 'migration waits on when the agent is back'),
    { migration: waiting, vm: 'waits' },
  );
  t.match(
    log.find(({ msg }) => msg === 'VMs that live in this agent ended with it'),
    { vms: ['waits'] },
  );
  t.equal(log.at(-1)?.['msg'], 'agent has shut down');
  t.ok(await nothingListens(url));
  t.strictSame(await lab.whereIs('runs', ['b', 'c']), { b: 'running' });
  t.strictSame(await lab.whereIs('waits', ['b', 'c']), {});
  await lab.restart('a');
  t.match(await lab.client('a').guests(), [{ name: 'waits', status: 'stopped' }]);
  // This guest has ended with its agent; others have not.
  t.match(await lab.client('a').migration(waiting), {
    phase: 'ended',
    result: { outcome: 'failed', error: { code: 'wrong-state', message: /VM waits is stopped: start it/ } },
  });
  t.match(
    (await lab.client('a').history()).map(({ id, outcome }) => [id, outcome]),
    [
      [waiting, 'failed'],
      [running, 'completed'],
    ],
  );
});

await t.test('the source cancels', async (t) => {
  const lab = await AgentLab.start(t, ['b', 'c'], settings);
  await lab.boot('b', { name: 'stays', ...GUEST });
  const id = await lab.request('stays', 'b', 'c', ENDLESS);
  await lab.copying('b', id);
  t.equal(await lab.agent('b').stop(), 0);
  t.match(
    lab.agent('b').log.find(({ msg }) => msg === 'migration ended before the shutdown'),
    { migration: id, outcome: 'cancelled' },
  );
  await lab.agent('c').logged(({ migration, state }) => migration === id && state === 'aborted');
  t.strictSame(await lab.whereIs('stays', ['c']), {});
});

await t.test(
  'the target gives up, whatever its policy, and says so; the guest runs on at its source',
  async (t) => {
    const lab = await AgentLab.start(t, ['a', 'b'], settings);
    await lab.boot('b', { name: 'stays', ...GUEST });
    const id = await lab.request('stays', 'b', 'a', ENDLESS);
    await lab.copying('b', id);
    t.equal(await lab.agent('a').stop(), 0);
    t.match(await lab.result('b', id), {
      outcome: 'failed',
      error: { code: 'shutting-down', retryable: true, message: /^node a: the agent is shutting down$/ },
    });
    t.match(
      lab.agent('a').log.find(({ msg }) => /given up: shutting down/.test(String(msg))),
      { migration: id },
    );
    t.strictSame(await lab.whereIs('stays', ['b']), { b: 'running' });
  },
);
