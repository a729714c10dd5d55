import { readdir, readFile } from 'node:fs/promises';
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

void t.test(
  'the disk of the log is full: the agent carries on, and says later what is missing',
  { skip: cannotMount },
  async (t) => {
    const disk = join(temporaryDirectory(t), 'log');
    mountSmallDisk(t, disk, MIB);
    const log = join(disk, 'b.log');
    // What comes to the file comes to the test as well.
    const toFile = `tail --lines=+1 --follow=name --retry --pid=$$ ${log} 2>&- & exec "$@" > ${log}`;
    const lab = await AgentLab.start(t, ['a', 'b'], { log: { level: 'debug' } }, (node) => ({
      host: '127.0.0.1',
      launcher: node === 'b' ? ['sh', '-c', toFile, 'sh'] : [],
    }));
    await lab.boot('b', { name: 'web', program: 'ticker' });
    const free = fill(disk);
    t.equal((await lab.migrate('web', 'b', 'a')).outcome, 'completed');
    t.equal((await lab.migrate('web', 'a', 'b')).outcome, 'completed');
    free();
    await lab.client('b').changeGuest('web', 'pause');
    const { linesLost } = await lab.agent('b').logged((line) => 'linesLost' in line);
    t.ok(Number(linesLost) > 10, `${String(linesLost)} lines were dropped, not kept`);
    const lines = (await readFile(log, 'utf8')).trimEnd().split('\n');
    const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    t.ok(messages.includes('VM paused'), 'the log goes on, with whole lines');
  },
);
