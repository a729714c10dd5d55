import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { readStatus } from '../../../agent/system/process-status.js';
import type { PreflightReport } from '../../../shared/api.js';
import { QemuDefinitionSchema } from '../../../shared/guest-definition.js';
import { QemuLab } from '../../support/qemu-lab.js';
import { prepareMessage, RawPeer } from '../../support/raw-peer.js';

/** A VM that has what the target's operator has not allowed to VMs from other nodes, where they have allowed nothing. */

const MEMORY = 16 * 2 ** 20;
const lab = await QemuLab.start(t, ['a', 'b'], (node) => ({ qemu: node === 'b' ? { allow: {} } : {} }));
const { agents } = lab;
const filtersOf = (pids: number[]) => pids.map((pid) => readStatus(pid).filters);
const NOTHING = { files: [], processes: [] };

await t.test(
  'the command line tells what, why and what to do; the guest runs on, the target keeps nothing',
  async (t) => {
    const sandbox = ['-sandbox', 'off', '-device', 'pvpanic'];
    const transcript = await lab.bootPageWalker('a', 'walker', MEMORY, { arguments: sandbox });
    t.same(filtersOf(lab.qemus('a')), [1], 'and what the agent denies to QEMU, that does not undo');
    const disk = join(agents.directory, 'walker.img');
    const told = `disk ${disk}: is in no directory that the target allows to VMs from other nodes: name its directory in qemu.allow.files of the target`;

    const refused = await agents.command('a', 'migrate', 'walker', '--to', 'b');
    t.match(refused, { exitCode: 3, stderr: told });
    t.match(await agents.command('a', 'migrate', 'walker', '--to', 'b', '--detach'), {
      exitCode: 3,
      stderr: told,
    });

    const dry = await agents.command('a', 'migrate', 'walker', '--to', 'b', '--dry-run', '--json');
    t.equal(dry.exitCode, 3);
    const { ok, findings } = JSON.parse(dry.stdout) as PreflightReport;
    t.equal(ok, false);
    t.match(
      findings.filter(({ level }) => level === 'refusal'),
      [
        { code: 'refused-by-policy', message: `disk ${disk}: `, remedy: /qemu\.allow\.files of the target/ },
        {
          code: 'refused-by-policy',
          message: /^argument '-sandbox off': is none that the target takes from other nodes/,
          remedy: /qemu\.allow\.arguments of the target/,
        },
        { code: 'refused-by-policy', message: /^argument '-device pvpanic'/ },
      ],
    );

    t.same(await agents.whereIs('walker'), { a: 'running' });
    await transcript.another(/pass \w{8}/);
    t.same(await lab.remains('b'), NOTHING);
    t.same((await agents.client('a').status()).migrations, []);
    t.same((await agents.client('b').status()).migrations, []);
    t.same(await agents.client('b').queue(), []);
    await agents.client('a').changeGuest('walker', 'stop');
  },
);

await t.test('a source that asks for no preflight is told the same', async (t) => {
  const secret = join(agents.directory, 'secret');
  await writeFile(secret, '');
  const disks = [{ file: secret, format: 'raw' }];
  const definition = QemuDefinitionSchema.parse({ name: 'intruder', kind: 'qemu', memory: MEMORY, disks });
  const peer = await RawPeer.connect(agents.agent('b').url, 'm-intruder');
  await (await peer.greet({ to: 'b' })).lock();
  const regions = [{ name: 'ram0', bytes: MEMORY }];
  peer.say(prepareMessage({ definition, regions }));
  t.match(await peer.hear('error'), { code: 'refused-by-policy', message: `disk ${secret}: ` });
  await peer.socket.closed;
  t.same(await lab.remains('b'), NOTHING);
  t.same(await agents.client('b').guests(), []);
});
