import { test } from 'tap';
import { chooseWriteLog } from '../../../../agent/guest/qemu/write-log/choose-write-log.js';
import { probeKernel, softDirtyHazard } from '../../../../agent/guest/qemu/write-log/probe-kernel.js';
import { withProcessStopped } from '../../../../agent/system/stop-process.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { pagesOf, WriterProcess } from './writer-process.js';

const BYTES = 64 * PAGE_SIZE;

void test('the best that works is chosen, and the reason tells what is in the way of the better ones', async (t) => {
  const { pid, regions } = await WriterProcess.start(t, BYTES);
  const { userfaultfd, softDirty } = probeKernel();
  const log = await chooseWriteLog({ pid, regions, choice: 'auto' });
  t.equal(log.kind, userfaultfd.usable ? 'userfaultfd' : softDirty.usable ? 'soft-dirty' : 'hash');
  if (!userfaultfd.usable) t.match(log.reason, `userfaultfd: ${userfaultfd.reason}`);
  t.notMatch(log.reason, '\n');
});

void test('a process that cannot be traced is followed by hashes', async (t) => {
  const writer = await WriterProcess.start(t, BYTES);
  // Another tracer: this process itself, which can't trace one twice.
  const log = await withProcessStopped(writer.pid, () =>
    chooseWriteLog({ pid: writer.pid, regions: writer.regions, choice: 'auto' }),
  );
  t.equal(log.kind, 'hash');
  t.match(log.reason, `traced, by process ${process.pid}`);
  await log.start();
  await writer.do('write', [3]);
  t.same(pagesOf(await log.harvest()), [3]);
  await log.stop();
});

void test('what is asked for is taken, or refused with the reason', async (t) => {
  const { pid, regions } = await WriterProcess.start(t, BYTES);
  t.equal((await chooseWriteLog({ pid, regions, choice: 'hash' })).kind, 'hash');
  const missing = regions.map((region) => ({ ...region, inode: region.inode + 2 ** 32 }));
  for (const choice of ['userfaultfd', 'soft-dirty'] as const) {
    await t.rejects(chooseWriteLog({ pid, regions: missing, choice }), {
      code: 'tracking-failed',
      message: choice,
    });
  }
});

void test('soft-dirty bits are not trusted where memory is swapped out', (t) => {
  const header = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';
  t.equal(softDirtyHazard(header), null);
  t.match(
    softDirtyHazard(`${header}/dev/vda2                               partition\t8\t0\t-2\n`),
    '/dev/vda2 is in use',
  );
  t.end();
});
