import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { readStatus } from '../../../agent/system/process-status.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** What QEMU may not do, and who can get at what it and its agent leave on the disk. */

const lab = await QemuLab.start(t, ['a', 'b'], (node) => ({ qemu: { sandbox: node === 'a' } }));
const { agents } = lab;
const filters = (node: string) => lab.qemus(node).map((pid) => readStatus(pid).filters);

/** What the node has on the disk that others than the agent's user could get at, if they got so far: its mode. */
async function openToOthers(node: string): Promise<string[]> {
  const open: string[] = [];
  for (const top of [join(agents.directory, node), lab.memoryDirectory(node)]) {
    for (const entry of await readdir(top, { recursive: true })) {
      const { mode } = await stat(join(top, entry));
      if ((mode & 0o077) !== 0) open.push(`${entry} ${(mode & 0o7777).toString(8)}`);
    }
  }
  return open;
}

await t.test('files and sockets are for the agent and its user alone', async (t) => {
  await lab.bootPageWalker('a', 'walker', 16 * 2 ** 20);
  const run = await readdir(join(agents.directory, 'a', 'run', 'walker'));
  for (const file of ['console.log', 'console.sock', 'qmp.sock', 'qemu.log', 'guest.json']) {
    t.ok(run.includes(file), file);
  }
  t.same(await openToOthers('a'), []);
});

await t.test('a guest moves between a node that filters system calls and one that does not', async (t) => {
  t.same(filters('a'), [1]);
  const there = await agents.migrate('walker', 'a', 'b', { verify: 'strict' });
  t.match(there, { outcome: 'completed', writeLog: 'userfaultfd', verify: { mismatches: 0 } });
  t.same(filters('b'), [0]);
  for (const node of ['a', 'b']) t.same(await openToOthers(node), [], 'the journal too');
  const back = await agents.migrate('walker', 'b', 'a', { verify: 'strict' });
  t.match(back, { outcome: 'completed', verify: { mismatches: 0 } });
  t.same(filters('a'), [1]);
  await agents.client('a').changeGuest('walker', 'stop');
});

await t.test('a QEMU that is to start a program does not, and says what to do', async (t) => {
  const helper = ['-netdev', 'bridge,id=net,br=none,helper=/bin/true'];
  const boot = lab.bootPageWalker('a', 'spawner', 16 * 2 ** 20, { arguments: helper });
  await t.rejects(boot, {
    code: 'guest-failed',
    message:
      /VM spawner was ended by SIGSYS \(a system call that -sandbox denies: .*'qemu\.sandbox' to false\)/,
  });
  t.same(await lab.remains('a'), { files: [], processes: [] });
});
