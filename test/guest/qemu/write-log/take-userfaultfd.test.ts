import { closeSync } from 'node:fs';
import { test } from 'tap';
import { callInQemu } from '../../../../agent/guest/qemu/write-log/call-in-qemu.js';
import {
  closeUnusedUserfaultfds,
  SYS_CLOSE,
  takeUserfaultfd,
} from '../../../../agent/guest/qemu/write-log/take-userfaultfd.js';
import { descriptorsOn } from '../../../../agent/system/process-status.js';
import { pidfdGetfd, pidfdOpen } from '../../../../agent/system/system-calls.js';
import { SYS_USERFAULTFD, USERFAULTFD_FLAGS, WriteProtection } from '../../../../agent/system/userfaultfd.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { openFiles } from '../../../support/open-files.js';
import { WriterProcess } from './writer-process.js';

const USERFAULTFD = 'anon_inode:[userfaultfd]';
const PIDFD = /pidfd/;

const held = () => openFiles().filter((file) => file === USERFAULTFD || PIDFD.test(file));

void test('a userfaultfd of the process is taken over, and none stays in it', async (t) => {
  const { pid } = await WriterProcess.start(t, PAGE_SIZE);
  const before = held();
  const own = takeUserfaultfd(pid);
  t.same(held(), [...before, USERFAULTFD]);
  t.same(descriptorsOn(pid, USERFAULTFD), []);
  closeSync(own);
});

for (const [step, number] of [
  ['it makes one', SYS_USERFAULTFD],
  ['it closes its own', SYS_CLOSE],
] as const) {
  void test(`nothing is held of a process that is killed before ${step}`, async (t) => {
    const writer = await WriterProcess.start(t, PAGE_SIZE);
    const before = held();
    const take = () =>
      takeUserfaultfd(writer.pid, (pid, use) =>
        callInQemu(pid, (call) =>
          use((next, ...parameters) => {
            if (next === number) process.kill(pid, 'SIGKILL');
            return call(next, ...parameters);
          }),
        ),
      );
    t.throws(take, { code: 'tracking-failed', message: 'it has ended' });
    t.same(held(), before);
  });
}

void test('what an agent that was killed has left in the process is closed, and nothing else', async (t) => {
  const { pid } = await WriterProcess.start(t, PAGE_SIZE);
  t.equal(closeUnusedUserfaultfds(pid), 0);
  const [unused, used] = callInQemu(pid, (call) =>
    Array.from({ length: 2 }, () => call(SYS_USERFAULTFD, USERFAULTFD_FLAGS)),
  );
  const pidfd = pidfdOpen(pid);
  const protection = new WriteProtection(pidfdGetfd(pidfd, used!));
  closeSync(pidfd);
  t.same(descriptorsOn(pid, USERFAULTFD), [unused, used]);
  t.equal(closeUnusedUserfaultfds(pid), 1);
  t.same(descriptorsOn(pid, USERFAULTFD), [used]);
  protection.close();
});
