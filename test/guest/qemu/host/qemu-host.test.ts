import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import t from 'tap';
import { askQemu } from '../../../../agent/guest/qemu/host/probe-process.js';
import {
  inProbeDirectory,
  removeLostProbeDirectories,
} from '../../../../agent/guest/qemu/host/probe-directory.js';
import { QemuHostProbe } from '../../../../agent/guest/qemu/host/qemu-host.js';
import { identifyProcess, isAlive } from '../../../../agent/guest/qemu/process/process-identity.js';
import { commandLine } from '../../../../agent/system/process-status.js';
import { tryAccelerator } from '../../../../agent/guest/qemu/host/try-accelerator.js';

const QEMU = 'qemu-system-x86_64';

// What probes leave behind is looked for in a directory that nobody else uses. A socket's path must be short.
const temporary = await mkdtemp(join('/tmp', 'vmferry-'));
t.teardown(() => rm(temporary, { recursive: true, force: true }));
process.env['TMPDIR'] = temporary;
t.afterEach(async () => {
  t.same(await readdir(temporary), [], 'nothing is left');
});

void t.test('what the QEMU of this host can do', async (t) => {
  const host = await new QemuHostProbe(QEMU).host();
  t.equal(host.arch, 'x86_64');
  t.ok(host.version.major >= 5);
  t.match(host.binary, /^\/.*qemu-system-x86_64$/);
  t.match(host.machines.get('q35'), /^pc-q35-\d+\.\d+$/, 'an alias is resolved');
  t.equal(host.machines.get(host.machines.get('q35') ?? ''), host.machines.get('q35'));
  t.same(host.cpuModels.tcg.get('qemu64'), [], 'TCG has all of qemu64');
  t.ok((host.cpuModels.tcg.get('host')?.length ?? 0) > 0, 'and no host');
  for (const capability of ['events', 'pause-before-switchover', 'x-ignore-shared']) {
    t.ok(host.migrationCapabilities.has(capability), capability);
  }
  t.match(host.kvm.reason, /-accel kvm -machine q35 -cpu host/, 'what was tried is told');
  t.equal(host.cpuModels.kvm !== null, host.kvm.usable);
});

void t.test('it is asked once, until another one is installed', async (t) => {
  const script = join(t.testdir({}), 'qemu');
  await writeFile(script, `#!/bin/sh\nexec ${QEMU} "$@"\n`);
  await chmod(script, 0o755);
  const probe = new QemuHostProbe(script);
  const [first, second] = await Promise.all([probe.host(), probe.host()]);
  t.equal(first, second);
  t.equal(await probe.host(), first);
  await utimes(script, 1_000_000, 1_000_000);
  t.not(await probe.host(), first);
});

void t.test('no QEMU, or none that works', async (t) => {
  const directory = t.testdir({});
  const missing = new QemuHostProbe('qemu-system-none');
  await t.rejects(missing.host(), {
    code: 'unsupported-guest',
    message: /no program qemu-system-none: apt-get install/,
  });
  await t.rejects(new QemuHostProbe(join(directory, 'none')).host(), { code: 'unsupported-guest' });

  const script = join(directory, 'qemu');
  await writeFile(script, '#!/bin/sh\necho "libpixman is missing" >&2\nexit 127\n');
  await chmod(script, 0o755);
  const broken = new QemuHostProbe(script);
  const message = /qemu ended with code 127: libpixman is missing/;
  await t.rejects(broken.host(), { code: 'unsupported-guest', message });
  await writeFile(script, `#!/bin/sh\nexec ${QEMU} "$@"\n`);
  t.match(await broken.host(), { arch: 'x86_64' }, 'asked again after a failure');

  await writeFile(script, '#!/no/such/interpreter\n');
  await t.rejects(new QemuHostProbe(script).host(), {
    code: 'unsupported-guest',
    message: /failed to execute .*No such file/,
  });
});

void t.test('a question that fails ends the QEMU too', async (t) => {
  await t.rejects(
    askQemu(QEMU, ['-machine', 'none'], () => Promise.reject(new Error('an answer of another shape'))),
    { message: 'an answer of another shape' },
  );
  const killed = askQemu(QEMU, ['-machine', 'none'], (qmp) =>
    qmp.execute('quit').then(() => qmp.execute('query-status')),
  );
  await t.rejects(killed, { code: 'unsupported-guest', message: /qemu-system-x86_64 ended with code 0/ });
});

void t.test('a QEMU that is asked ends with the agent, however that ends', async (t) => {
  const probes = new URL('../../../../agent/guest/qemu/host/probe-process.js', import.meta.url);
  // What is left of an agent that is killed are the directories of its probes.
  const directory = await mkdtemp(join('/tmp', 'vmferry-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const agent = spawn(
    process.execPath,
    [
      ...['--input-type=module', '-e'],
      `const { askQemu } = await import(${JSON.stringify(probes.href)});
       await askQemu('${QEMU}', ['-machine', 'none'], async () => {
         console.log('asked');
         await new Promise((resolve) => setTimeout(resolve, 60_000));
       });`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: directory } },
  );
  await once(agent.stdout, 'data');
  const [qemu] = childrenOf(agent.pid!);
  t.ok(commandLine(qemu!)[0]?.includes('qemu'), 'there is one');
  const identity = identifyProcess(qemu!)!;
  t.teardown(() => void (isAlive(identity) && process.kill(identity.pid, 'SIGKILL')));
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  while (isAlive(identity)) await new Promise((resolve) => setImmediate(resolve));

  const left = await readdir(directory);
  t.match(left, [/^vmferry-probe-/]);
  const others = [`vmferry-probe-${agent.pid}`, `vmferry-probe-${process.pid}`, 'vmferry-x'];
  for (const name of others) await mkdir(join(directory, name));
  const file = left[0]!.replace(/.{8}$/, 'aaaaaaaa');
  await writeFile(join(directory, file), '');
  process.env['TMPDIR'] = directory;
  try {
    await inProbeDirectory(async (own) => {
      await removeLostProbeDirectories();
      const kept = [...others, basename(own), file];
      t.same((await readdir(directory)).sort(), kept.sort(), 'the next agent removes it, and nothing else');
    });
  } finally {
    process.env['TMPDIR'] = temporary;
  }
});

void t.test('an accelerator is one that executes instructions', async (t) => {
  t.same(await tryAccelerator(QEMU, 'tcg', 'max'), {
    usable: true,
    reason: 'a guest with -accel tcg -machine q35 -cpu max executed its first instructions',
  });
  t.match(await tryAccelerator(QEMU, 'tcg', 'no-such-model'), {
    usable: false,
    reason: /^QEMU with -accel tcg -machine q35 -cpu no-such-model ended with code 1: .*no-such-model/,
  });
});

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return text.trim().split(' ').map(Number);
}
