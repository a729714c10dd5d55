import { chown } from 'node:fs/promises';
import t from 'tap';
import { readStatus } from '../../../agent/system/process-status.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** Agents that are not root, with the one capability that they need for guests of other users. */

const NOBODY = 65_534;
const MEMORY = 16 * 2 ** 20;
const CAPABILITY = '-all,+sys_ptrace';
const LAUNCHER = [
  ...['setpriv', '--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'],
  ...['--inh-caps', CAPABILITY, '--ambient-caps', CAPABILITY, '--bounding-set', CAPABILITY],
];

const skip = process.geteuid?.() === 0 ? false : 'only root can start agents as another user';

await t.test('agents that are not root', { skip }, async (t) => {
  const place = { host: '127.0.0.1', launcher: LAUNCHER };
  const lab = await QemuLab.start(
    t,
    ['a', 'b'],
    { qemu: { writeLog: 'userfaultfd' } },
    () => place,
    (path) => chown(path, NOBODY, NOBODY),
  );
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const agent = readStatus(lab.agents.agent(from).process.pid!);
    t.match(agent, { effectiveUser: NOBODY, effectiveCapabilities: 1n << 19n });
    const [qemu] = lab.qemus(from);
    const confined = { effectiveUser: NOBODY, effectiveCapabilities: 0n, filters: 1 };
    t.match(readStatus(qemu!), confined, 'QEMU inherits none, and its system calls are filtered');
    const result = await lab.agents.migrate('walker', from, to, { verify: 'strict' });
    t.match(result, {
      outcome: 'completed',
      error: null,
      writeLog: 'userfaultfd',
      verify: { mismatches: 0 },
    });
    await transcript.another(/pass \w{8}/);
  }
});
