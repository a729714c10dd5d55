import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'tap';
import { removeLostRamFiles } from '../../../../agent/guest/qemu/process/lost-ram-files.js';
import { identifyProcess } from '../../../../agent/guest/qemu/process/process-identity.js';
import { planRamFiles, scratchFile } from '../../../../agent/guest/qemu/process/ram-files.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

const definition = QemuDefinitionSchema.parse({ name: 'web', kind: 'qemu', memory: '64MiB' });

/** Names as an agent has given them that has ended. */
const { pid: DEAD } = spawnSync('true');
const lost = (what: string, unique: string, startTime = '77') =>
  `vmferry-${what}-${DEAD}.${startTime}.${unique}-0.ram`;

void test('what agents have left that are no more is removed, and nothing else', async (t) => {
  const directory = t.testdir();
  const used = lost('a:used', '00000001');
  // As a QEMU has it that outlived its agent, and whose run directory is lost.
  const script = 'echo started; read line';
  const qemu = spawn('sh', ['-c', script, '-object', `memory-backend-file,mem-path=${directory}/${used}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  t.teardown(() => qemu.kill('SIGKILL'));
  await once(qemu.stdout, 'data');

  const { startTime } = identifyProcess(process.pid)!;
  const reused = `vmferry-a:web-${process.pid}.${Number(startTime) - 1}.00000002-0.ram`;
  const gone = [lost('a:web', '00000003'), lost('scratch', '00000004'), lost('a:b-c.d', '00000005'), reused];
  const kept = [
    used,
    basename(scratchFile(directory, 4096).path),
    ...(await planRamFiles(definition, 'a', directory)).map(({ path }) => basename(path)),
    lost('b:web', '00000006'),
    lost('a-b:web', '0000000b'),
    `foreign-${lost('a:web', '00000007')}`,
    lost('a:web', '0000000z'),
    'vmferry-a-web.ram',
    'vmferry-a-walker-foreign.ram',
  ];
  for (const name of [...gone, ...kept]) writeFileSync(join(directory, name), name);
  mkdirSync(join(directory, lost('a:directory', '00000008')));
  symlinkSync(join(directory, 'vmferry-a-web.ram'), join(directory, lost('a:link', '00000009')));
  const others = lost('a:other', '0000000a');
  if (process.geteuid!() === 0) {
    writeFileSync(join(directory, others), '');
    chownSync(join(directory, others), 65_534, 65_534);
  }

  const before = readdirSync(directory);
  const removed = await removeLostRamFiles('a', directory);
  t.same(removed.sort(), gone.map((name) => join(directory, name)).sort());
  t.same(
    readdirSync(directory),
    before.filter((name) => !gone.includes(name)),
  );
  t.same(await removeLostRamFiles('a', directory), []);
  t.same(
    await removeLostRamFiles('a', join(directory, 'none')),
    [],
    'a directory that is not there has none',
  );

  qemu.stdin.end('\n');
  await once(qemu, 'exit');
  t.same(await removeLostRamFiles('a', directory), [join(directory, used)], 'once nobody runs on it');
});
