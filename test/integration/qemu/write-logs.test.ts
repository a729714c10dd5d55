import t from 'tap';
import { QemuLab } from '../../support/qemu-lab.js';

/** Each write-log that works on this kernel finds all that a guest writes; a migration given up leaves no trace. */

const MEMORY = 16 * 2 ** 20;

/** A pass over the memory takes a good while: at each harvest some pages were written, and others not. */
const SLOW_WALK = 20_000;

for (const writeLog of ['userfaultfd', 'hash']) {
  await t.test(`the write-log ${writeLog}`, async (t) => {
    const lab = await QemuLab.start(t, ['a', 'b'], { qemu: { writeLog } });
    const transcript = await lab.bootPageWalker('a', 'walker', MEMORY, {}, SLOW_WALK);
    let [here, there] = ['a', 'b'];
    for (let migration = 1; migration <= 6; migration += 1) {
      const result = await lab.agents.migrate('walker', here, there, { verify: 'strict' });
      t.match(result, { outcome: 'completed', error: null, writeLog, verify: { mismatches: 0 } });
      [here, there] = [there, here];
      const client = lab.agents.client(here);
      await client.changeGuest('walker', 'pause');
      t.same(await lab.pageWalkDefects(here, 'walker'), [], `memory after migration ${migration}`);
      await client.changeGuest('walker', 'resume');
      await transcript.another(/pass \w{8}/);
    }
  });
}

await t.test('a migration that is cancelled, and the one after it', async (t) => {
  const lab = await QemuLab.start(t);
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  const { agents } = lab;
  const id = await agents.request('walker', 'a', 'b', { bandwidthBytesPerSecond: 4 * 2 ** 20 });
  await agents.copying('a', id);
  await agents.client('a').cancelMigration(id);
  t.match(await agents.result('a', id), { outcome: 'cancelled', downtimeMs: 0 });
  await lab.cleared('b', id);
  t.same(await lab.remains('b'), { files: [], processes: [] }, 'the target keeps nothing');
  t.same(await agents.whereIs('walker'), { a: 'running' });
  await transcript.another(/pass \w{8}/);
  t.match(await agents.migrate('walker', 'a', 'b', { verify: 'strict' }), {
    outcome: 'completed',
    verify: { mismatches: 0 },
  });
  await transcript.another(/pass \w{8}/);
});
