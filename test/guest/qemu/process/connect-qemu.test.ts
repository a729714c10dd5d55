import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'tap';
import { connectQemu } from '../../../../agent/guest/qemu/process/launch-qemu.js';
import { identifyProcess } from '../../../../agent/guest/qemu/process/process-identity.js';
import { QemuProcess } from '../../../../agent/guest/qemu/process/qemu-process.js';
import { RunDirectory } from '../../../../agent/guest/qemu/process/run-directory.js';
import { ScriptedQmpServer } from '../../../support/scripted-qmp-server.js';

void test('a QEMU that accepts and does not greet yet has all of the time to do so', async (t) => {
  const server = await ScriptedQmpServer.start(() => [], null);
  t.teardown(() => server.stop());
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const exit = once(child, 'exit');
  await once(child, 'spawn');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const qemu = QemuProcess.found(identifyProcess(child.pid!)!);
  const connecting = connectQemu('web', new RunDirectory(t.testdir(), 'web'), qemu, server.path, 40);
  await t.rejects(connecting, { end: 'silent', message: /was not ready within (40|3\d) ms/ });
});
