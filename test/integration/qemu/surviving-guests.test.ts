import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { followMigration } from '../../../client/follow-migration.js';
import type { MigrationEvent } from '../../../shared/api.js';
import { callInQemu } from '../../../agent/guest/qemu/write-log/call-in-qemu.js';
import { descriptorsOn, isAlive } from '../../../agent/system/process-status.js';
import { SYS_USERFAULTFD, USERFAULTFD_FLAGS, USERFAULTFD_LINK } from '../../../agent/system/userfaultfd.js';
import { HeldLink } from '../../support/held-link.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** A QEMU outlives its agent, and the agent that comes after it takes the guest up. */

const MEMORY = 32 * 2 ** 20;

const SLOW = { bandwidthBytesPerSecond: 10 * 2 ** 20 } as const;

const SETTINGS = { lock: { grace: '300ms' }, link: { heartbeat: '100ms', silence: '1s' } };

await t.test('an agent that is killed, or ends, and its guest', async (t) => {
  const lab = await QemuLab.start(t, ['a', 'b'], SETTINGS);
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  const { agents } = lab;
  const [qemu] = lab.qemus('a');

  await agents.agent('a').kill();
  t.same(lab.qemus('a'), [qemu], 'the guest lives on');
  // As one leaves it that is killed in the moment in which it begins to follow writes.
  callInQemu(qemu!, (call) => call(SYS_USERFAULTFD, USERFAULTFD_FLAGS));
  t.equal(descriptorsOn(qemu!, USERFAULTFD_LINK).length, 1);
  await agents.restart('a');
  t.same(descriptorsOn(qemu!, USERFAULTFD_LINK), [], 'what was left in QEMU is closed');
  t.same(await agents.whereIs('walker'), { a: 'running' });
  await transcript.another(/pass \w{8}/);

  t.equal(await agents.agent('a').stop(), 0);
  t.same(lab.qemus('a'), [qemu], 'also when the agent was asked to end');
  await agents.restart('a');
  await lab.follow('a', 'walker').another(/pass \w{8}/);
  t.match(await agents.migrate('walker', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
  await agents.client('b').changeGuest('walker', 'stop');
});

await t.test('the agent of the source is killed while it copies', async (t) => {
  const lab = await QemuLab.start(t, ['a', 'b'], SETTINGS);
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  const { agents } = lab;
  const id = await agents.request('walker', 'a', 'b', SLOW);
  await agents.copying('a', id);
  await agents.agent('a').kill();
  await agents.agent('b').logged(({ migration, state }) => migration === id && state === 'aborted');
  await agents.restart('a');
  t.same(await agents.whereIs('walker'), { a: 'running' });
  await transcript.another(/pass \w{8}/);
  t.match(await agents.migrate('walker', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
  t.same(await agents.whereIs('walker'), { b: 'running' });
  await agents.client('b').changeGuest('walker', 'stop');
  for (const node of ['a', 'b']) t.same(await lab.remains(node), { files: [], processes: [] });
});

await t.test('a migration that waits has its place when its agent is back, however that ended', async (t) => {
  const lab = await QemuLab.start(t, ['a', 'b', 'c'], SETTINGS);
  const { agents } = lab;
  for (const name of ['first', 'second']) await lab.bootPageWalker('a', name, MEMORY);
  const running = await agents.request('first', 'a', 'b', SLOW);
  await agents.copying('a', running);
  const waiting = await agents.request('second', 'a', 'c');
  await agents.waiting('a', waiting);
  const { requestedAt } = await agents.client('a').migration(waiting);
  const seen: MigrationEvent[] = [];
  let isBack!: () => void;
  const back = new Promise<void>((resolve) => (isBack = resolve));
  const followed = followMigration({
    ...{ client: agents.client('a'), id: waiting, signal: new AbortController().signal },
    onEvent: (event) => seen.push(event),
    // However long that takes here.
    delay: () => back,
  });

  await agents.agent('a').kill();
  await agents.restart('a');
  isBack();
  t.match(await followed, { id: waiting, outcome: 'completed' }, 'whoever follows it sees it through');
  t.same(seen.filter(({ event }) => event === 'ended').length, 1);
  t.equal((await agents.client('a').migration(waiting)).requestedAt, requestedAt);
  t.same(await agents.whereIs('first'), { a: 'running' });
  t.same(await agents.whereIs('second'), { c: 'running' });

  const third = await agents.request('first', 'a', 'b', SLOW);
  await agents.copying('a', third);
  const fourth = await agents.request('second', 'c', 'a');
  await agents.waiting('c', fourth);
  t.equal(await agents.agent('c').stop(), 0, 'it was asked to end');
  await agents.client('a').cancelMigration(third);
  await agents.restart('c');
  t.match(await agents.result('c', fourth), { outcome: 'completed' });
  t.same(await agents.whereIs('second'), { a: 'running' });
  t.match(
    (await agents.client('c').history()).map(({ id, outcome }) => ({ id, outcome })),
    [{ id: fourth, outcome: 'completed' }],
  );
  for (const name of ['first', 'second']) await agents.client('a').changeGuest(name, 'stop');
});

await t.test('the agent of the target is killed while it receives', async (t) => {
  const lab = await QemuLab.start(t, ['a', 'b'], SETTINGS);
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  const { agents } = lab;
  const id = await agents.request('walker', 'a', 'b', SLOW);
  await agents.copying('a', id);
  await agents.agent('b').kill();
  t.match(await agents.result('a', id), { outcome: 'failed', error: { code: 'link-lost' } });
  t.same(await agents.whereIs('walker', ['a']), { a: 'running' });
  await transcript.another(/pass \w{8}/);
  await agents.restart('b');
  t.same(await lab.remains('b'), { files: [], processes: [] }, 'what was arriving is cleared away');
  t.match(await agents.migrate('walker', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
});

// Most of their time passes in waiting for answers that don't come.
t.jobs = 2;
const unanswered = (
  [
    { says: 'running', outcome: 'was committed', place: 'b' },
    { says: 'ready', outcome: 'was not committed', place: 'a' },
  ] as const
).map(({ says, outcome, place }) =>
  t.test(
    `the agent of the source is killed as it ${outcome}, which the target does not say yet`,
    { buffered: true },
    async (t) => {
      const lab = await QemuLab.start(t, ['a', 'b'], SETTINGS);
      const { agents } = lab;
      const link = await HeldLink.between(t, agents, 'a', 'b');
      const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
      const id = await agents.request('walker', 'a', 'b');
      await link.hold(says);
      await agents.agent('a').kill();
      const [qemu] = lab.qemus('a');
      agents.agent('b').process.kill('SIGSTOP');
      link.release();

      await agents.restart('a');
      await agents.agent('a').logged(({ msg }) => /could not be asked/.test(String(msg)));
      t.match(await agents.client('a').guest('walker'), { status: 'unknown', migration: id });
      await t.rejects(agents.client('a').changeGuest('walker', 'resume'), { code: 'wrong-state' });
      t.same(lab.qemus('a'), [qemu], 'it is held');
      t.same(await lab.pageWalkDefects('a', 'walker'), [], 'and stands still');

      agents.agent('b').process.kill('SIGCONT');
      await agents
        .agent('a')
        .logged(({ msg }) => /outcome of an earlier migration is known/.test(String(msg)));
      t.same(await agents.whereIs('walker'), { [place]: 'running' });
      t.equal(lab.qemus('a').length + lab.qemus('b').length, 1);
      await (place === 'b' ? lab.follow('b', 'walker') : transcript).another(/pass \w{8}/);
      await agents.client(place).changeGuest('walker', 'pause');
      t.same(await lab.pageWalkDefects(place, 'walker'), []);
      await agents.client(place).changeGuest('walker', 'stop');
    },
  ),
);
await Promise.all(unanswered);

await t.test('a guest that ends while no agent is there leaves nothing behind', async (t) => {
  const lab = await QemuLab.start(t, ['a'], SETTINGS);
  await lab.bootPageWalker('a', 'walker', MEMORY);
  await lab.agents.agent('a').kill();
  for (const pid of lab.qemus('a')) process.kill(pid, 'SIGKILL');
  await lab.agents.restart('a');
  t.same(await lab.agents.whereIs('walker'), { a: 'stopped' });
  t.same(await lab.remains('a'), { files: [], processes: [] });
});

await t.test('RAM of which no record is left goes once nothing runs on it', async (t) => {
  const lab = await QemuLab.start(t, ['a'], SETTINGS);
  await lab.bootPageWalker('a', 'walker', MEMORY);
  const ram = await lab.ramFiles('a', 'walker');
  t.equal(ram.length, 1);
  await lab.agents.agent('a').kill();
  await rm(join(lab.agents.directory, 'a', 'run'), { recursive: true });
  await lab.agents.restart('a');
  t.same(await lab.ramFiles('a', 'walker'), ram, 'a machine that nobody knows has its memory');

  await lab.agents.agent('a').kill();
  const qemus = lab.qemus('a');
  t.equal(qemus.length, 1);
  for (const pid of qemus) {
    process.kill(pid, 'SIGKILL');
    while (isAlive(pid)) await setImmediate();
  }
  await lab.agents.restart('a');
  t.same(await lab.remains('a'), { files: [], processes: [] });
  const { removed } = await lab.agents
    .agent('a')
    .logged(({ msg }) => /^RAM files of agents/.test(String(msg)));
  t.same(removed, ram);
});
