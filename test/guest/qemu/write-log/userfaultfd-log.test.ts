import { fork } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import { type Test, test } from 'tap';
import { UserfaultfdLog } from '../../../../agent/guest/qemu/write-log/userfaultfd-log.js';
import { descriptorsOn } from '../../../../agent/system/process-status.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { pagesOf, WriterProcess } from './writer-process.js';

const PAGES = 256;

async function tracked(
  t: Test,
  files = 1,
  givesBack = false,
): Promise<{ writer: WriterProcess; log: UserfaultfdLog }> {
  const writer = await WriterProcess.start(t, PAGES * PAGE_SIZE, files);
  const log = new UserfaultfdLog(writer.pid, writer.regions, 'a test', () => givesBack);
  t.teardown(() => log.stop());
  return { writer, log };
}

void test('a harvest is what was written since the last one: nothing else, whatever came before', async (t) => {
  const { writer, log } = await tracked(t, 2);
  const pages = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: 20 });
  const step = fc.record({
    do: fc.constantFrom('write' as const, 'read' as const, 'kernel-write' as const),
    file: fc.nat(1),
    pages,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step), fc.array(fc.array(step), { maxLength: 4 }), async (before, rounds) => {
      for (const { do: action, pages, file } of before) await writer.do(action, pages, file);
      await log.start();
      for (const round of rounds) {
        const written = [new Set<number>(), new Set<number>()] as const;
        for (const { do: action, pages, file } of round) {
          await writer.do(action, pages, file);
          if (action !== 'read') pages.forEach((page) => written[file]!.add(page));
        }
        const runs = await log.harvest();
        for (const [file, expected] of written.entries()) {
          t.same(
            pagesOf(runs, file),
            [...expected].sort((a, b) => a - b),
          );
        }
      }
      await log.stop();
    }),
    { numRuns: 25 },
  );
});

void test('pages that were given back are in the harvest, once', async (t) => {
  const { writer, log } = await tracked(t);
  await writer.do('write', [1, 2, 3, 4, 9]);
  await log.start();
  await writer.do('clear', [2, 3]);
  t.same(pagesOf(await log.harvest()), [2, 3]);
  t.same(await log.harvest(), []);
  await writer.do('write', [9, 20]);
  await writer.do('clear', [9]);
  t.same(pagesOf(await log.harvest()), [9, 20]);
  await writer.do('write', [2]);
  t.same(pagesOf(await log.harvest()), [2]);
});

void test('a page that was given back is not hidden by a hole that was read', async (t) => {
  const { writer, log } = await tracked(t, 1, true);
  await writer.do('write', [1, 2, 3]);
  await log.start();
  await writer.do('clear', [2]);
  await writer.do('read', [100]);
  t.same(pagesOf(await log.harvest()), [2]);
  t.same(await log.harvest(), []);
});

void test('nothing stays in the process after a stop, and it can be started again', async (t) => {
  const { writer, log } = await tracked(t);
  for (let i = 0; i < 5; i += 1) {
    await log.start();
    t.same(descriptorsOn(writer.pid, 'anon_inode:[userfaultfd]'), []);
    await writer.do('write', [i]);
    t.same(pagesOf(await log.harvest()), [i]);
    await log.stop();
    await log.stop();
  }
  await t.rejects(log.harvest(), { code: 'tracking-failed' });
  await writer.do('write', [0, 1, 2]);
});

void test('an agent that is killed leaves nothing behind', async (t) => {
  const { writer, log } = await tracked(t);
  const [region] = writer.regions;
  const args = [writer.pid, region!.device, region!.inode, region!.memory.length].map(String);
  const agent = fork(new URL('tracking-agent.js', import.meta.url), args);
  t.teardown(() => agent.kill('SIGKILL'));
  await once(agent, 'message');
  await t.rejects(log.start(), {
    code: 'tracking-failed',
    message: 'is tracked already, by another program',
  });
  const ended = once(agent, 'exit');
  agent.kill('SIGKILL');
  await ended;
  t.same(descriptorsOn(writer.pid, 'anon_inode:[userfaultfd]'), []);
  await log.start();
  await writer.do('write', [7]);
  t.same(pagesOf(await log.harvest()), [7]);
});

void test('guest memory that is mapped once more is noticed', async (t) => {
  const { writer, log } = await tracked(t);
  t.throws(() => log.confirm(), { code: 'tracking-failed', message: 'not started' });
  await log.start();
  log.confirm();
  await writer.do('map-again');
  t.throws(() => log.confirm(), { code: 'tracking-failed', message: 'mapped guest memory anew' });
  await log.start();
  log.confirm();
  await writer.do('write', [5]);
  t.same(pagesOf(await log.harvest()), [5], 'both mappings are tracked then');
});

void test('a process that has ended is an error of the guest, and stopping is harmless', async (t) => {
  const { writer, log } = await tracked(t);
  await log.start();
  await writer.kill();
  await t.rejects(log.harvest(), { code: 'guest-failed' });
  t.throws(() => log.confirm(), { code: 'guest-failed' });
  await log.stop();
  await t.rejects(log.start(), { code: 'guest-failed' });
});

void test('a process without that memory is refused', async (t) => {
  const { writer } = await tracked(t);
  const other = await WriterProcess.start(t, PAGES * PAGE_SIZE);
  const log = new UserfaultfdLog(other.pid, writer.regions, 'a test', () => false);
  await t.rejects(log.start(), { code: 'tracking-failed', message: 'share=on' });
});
