import t from 'tap';
import { gapsIn } from '../../../scripts/lab/guest-transcript.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** Linux, with a process that checks all of its memory again and again while the guest moves there and back. */

const MIGRATIONS = 12;

await t.test(`${MIGRATIONS} migrations of a guest that checks its memory`, async (t) => {
  const lab = await QemuLab.start(t);
  const work = { memory: [{ mib: 24, hotMiB: 6 }] } as const;
  const transcript = await lab.bootLinux('a', 'linux', work, { accel: 'auto' });
  let [here, there] = ['a', 'b'];
  for (let migration = 1; migration <= MIGRATIONS; migration += 1) {
    const result = await lab.agents.migrate('linux', here, there);
    t.match(result, { outcome: 'completed', error: null }, `migration ${migration}`);
    t.ok(result.populatedBytes < result.ramBytes, 'memory that was never used is not sent');
    [here, there] = [there, here];
    t.same(await lab.agents.whereIs('linux'), { [here]: 'running' });
    await transcript.another(/checked all of it/);
  }
  t.same(transcript.lines(/FAILED/), []);
  const passes = transcript.lines(/checked all of it/).map((line) => Number(/\d+$/.exec(line)?.[0]));
  t.same(gapsIn(passes), [], 'no line of the console was lost or repeated');
  t.same(transcript.defects, []);
  const typed = transcript.text.length;
  await lab.type(here, 'linux', 'are you there');
  await transcript.printed(/heard: are you there\n/, typed);
});
