import { spawn } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { buildPageWalker } from '../../../scripts/lab/guests/boot-sector/page-walker.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** A QEMU that somebody else started is taken over and moves as if an agent had started it. */

const MEMORY = 32 * 2 ** 20;

const POLL_MS = 10;

await t.test('a QEMU that qualifies is adopted and moves there and back', async (t) => {
  const lab = await QemuLab.start(t);
  const { directory } = lab.agents;
  const image = join(directory, 'walker.img');
  await buildPageWalker(image, { memoryBytes: MEMORY });
  const socket = join(directory, 'foreign.qmp');
  const ram = join(lab.memoryDirectory('a'), 'vmferry-a-walker-foreign.ram');
  const foreign = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-machine',
        'q35,memory-backend=ram0',
        '-accel',
        'tcg',
        '-m',
        '32M',
        '-nodefaults',
        '-display',
        'none',
      ],
      ...['-object', `memory-backend-file,id=ram0,size=32M,mem-path=${ram},share=on`],
      ...['-drive', `file=${image},format=raw,if=virtio,readonly=on`],
      ...['-qmp', `unix:${socket},server=on,wait=on`],
      // As others start it, too; on a node it is the agent's to say.
      ...['-sandbox', 'on,spawn=deny'],
    ],
    { stdio: 'ignore', detached: true },
  );
  t.teardown(() => foreign.kill('SIGKILL'));
  while (!(await exists(socket))) await setTimeout(POLL_MS);

  const { agents } = lab;
  t.match(await agents.client('a').adoptGuest('walker', socket), { name: 'walker', status: 'running' });
  t.match(await agents.migrate('walker', 'a', 'b', { verify: 'strict' }), {
    outcome: 'completed',
    error: null,
    verify: { mismatches: 0 },
  });
  t.same(await agents.whereIs('walker'), { b: 'running' });
  const { definition } = await agents.client('b').guest('walker');
  t.notMatch(JSON.stringify(definition), /sandbox/);
  t.match(await agents.migrate('walker', 'b', 'a', { verify: 'strict' }), { outcome: 'completed' });
  await agents.client('a').changeGuest('walker', 'pause');
  t.same(await lab.pageWalkDefects('a', 'walker'), []);
});

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}
