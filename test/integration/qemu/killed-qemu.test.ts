import t from 'tap';
import type { MigrationPhase } from '../../../shared/api.js';
import { QemuLab } from '../../support/qemu-lab.js';

/**
 * QEMU killed at each step of a migration, on either side: the guest of the other side is right, if it was to have one,
 * and the error says what happened.
 */

const MEMORY = 64 * 2 ** 20;

/** Copying takes a good second. bytes/s */
const SLOW = { bandwidthBytesPerSecond: 40 * 2 ** 20, verify: 'strict', maxRounds: 2 } as const;

const STEPS: readonly MigrationPhase[] = [
  'preparing',
  'copying',
  'switching-over',
  'verifying',
  'committing',
  'completing',
];

const lab = await QemuLab.start(t);

/** Migrates a page walker from a to b and kills QEMU of `node` in a phase. */
async function killIn(phase: MigrationPhase, node: string) {
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  const id = await lab.agents.request('walker', 'a', 'b', SLOW);
  await lab.agents.event('a', id, (event) => event.event === 'phase' && event.phase === phase);
  const killed = lab.qemus(node);
  for (const pid of killed) process.kill(pid, 'SIGKILL');
  const result = await lab.agents.result('a', id);
  await lab.cleared('b', id);
  return { transcript, killed, result };
}

/** Undefines the guest wherever it is. */
async function clearAway(): Promise<void> {
  for (const [node, status] of Object.entries(await lab.agents.whereIs('walker'))) {
    const client = lab.agents.client(node);
    if (status !== 'stopped') await client.changeGuest('walker', 'stop');
    await client.undefineGuest('walker');
  }
}

for (const phase of STEPS) {
  await t.test(`the source's QEMU is killed while ${phase}`, async (t) => {
    const { transcript, killed, result } = await killIn(phase, 'a');
    if (result.outcome === 'completed') {
      t.same(await lab.agents.whereIs('walker', ['b']), { b: 'running' });
      await transcript.another(/pass \w{8}/);
      await lab.agents.client('b').changeGuest('walker', 'pause');
      t.same(await lab.pageWalkDefects('b', 'walker'), []);
    } else {
      t.equal(killed.length, 1);
      t.match(result, { outcome: 'failed', error: { code: 'guest-failed', message: /QEMU/ } });
      t.match(await lab.agents.client('a').guest('walker'), { failure: /QEMU/ });
      t.same(await lab.agents.whereIs('walker', ['b']), {}, 'the target keeps nothing');
      t.same(await lab.remains('b'), { files: [], processes: [] });
    }
    await clearAway();
  });

  await t.test(`the target's QEMU is killed while ${phase}`, async (t) => {
    const { transcript, killed, result } = await killIn(phase, 'b');
    if (result.outcome === 'completed') {
      // It had arrived, or there was nothing to kill yet.
      const { failure } = await lab.agents.client('b').guest('walker');
      if (killed.length === 0) t.equal(failure, null);
      else t.match(failure, /QEMU/);
    } else {
      t.equal(killed.length, 1);
      t.match(result, { outcome: 'failed', error: { message: /QEMU/ } });
      t.same(await lab.agents.whereIs('walker'), { a: 'running' }, 'it goes on where it was');
      await transcript.another(/pass \w{8}/);
      t.match(await lab.agents.migrate('walker', 'a', 'b', { verify: 'strict' }), { outcome: 'completed' });
    }
    await clearAway();
  });
}

await t.test('nothing of them stays behind', async (t) => {
  for (const node of ['a', 'b']) t.same(await lab.remains(node), { files: [], processes: [] });
});
