import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { qemuProcesses } from '../../scripts/lab/qemu-processes.js';
import { AgentLab } from '../support/agent-lab.js';
import { QemuLab } from '../support/qemu-lab.js';
import { cannotMount, fill, mountSmallDisk, temporaryDirectory } from '../support/small-disk.js';

/** What runs out on the target ends the migration, in words; the guest runs on, and moves once there is room. */

const MIB = 2 ** 20;

void t.test('the disk of the target is full', { skip: cannotMount }, async (t) => {
  const stateDirectory = join(temporaryDirectory(t), 'state');
  mountSmallDisk(t, stateDirectory, MIB);
  const lab = await AgentLab.start(t, ['a', 'b'], (node: string) => (node === 'b' ? { stateDirectory } : {}));
  await lab.boot('a', { name: 'web', program: 'ticker' });
  const free = fill(stateDirectory);
  const refused = await lab.migrate('web', 'a', 'b');
  t.match(refused, { outcome: 'failed', error: { message: /no space left on device/i } });
  t.match(refused.error?.message, /free or mend/, 'and what to do');
  t.equal((await lab.client('a').guest('web')).status, 'running');
  t.same(await lab.client('b').guests(), []);
  free();
  t.equal((await lab.migrate('web', 'a', 'b')).outcome, 'completed');
  t.equal((await lab.client('b').guest('web')).status, 'running');
  t.same(await readdir(join(stateDirectory, 'journal')), []);
});

void t.test("the target's memory runs out in the middle of a round", { skip: cannotMount }, async (t) => {
  const memoryDirectory = join(temporaryDirectory(t), 'memory');
  mountSmallDisk(t, memoryDirectory, 80 * MIB);
  t.teardown(() => qemuProcesses(memoryDirectory).forEach((pid) => process.kill(pid, 'SIGKILL')));
  const lab = await QemuLab.start(t, ['a', 'b'], (node) =>
    node === 'b' ? { qemu: { memoryDirectory } } : {},
  );
  await lab.bootPageWalker('a', 'walker', 64 * MIB);
  const id = await lab.agents.request('walker', 'a', 'b', { bandwidthBytesPerSecond: 16 * MIB });
  await lab.agents.event('a', id, ({ event }) => event === 'progress');
  const free = fill(memoryDirectory);
  const failed = await lab.agents.result('a', id);
  t.match(failed, {
    outcome: 'failed',
    error: { message: /file system of the guests' memory is full: free/ },
  });
  t.equal((await lab.agents.client('a').guest('walker')).status, 'running');
  await lab.cleared('b', id);
  t.same(await lab.agents.client('b').guests(), []);
  free();
  t.same(await readdir(memoryDirectory), [], 'nothing is kept of what had come');
  t.equal((await lab.agents.migrate('walker', 'a', 'b')).outcome, 'completed');
});
