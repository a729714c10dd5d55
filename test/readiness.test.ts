import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PROBE_INTERVAL_MS, PROBE_TIMEOUT_MS, Readiness } from '../agent/readiness.js';
import { VirtualTimers } from './support/link-virtual-timers.js';
import { cannotMount, fill, mountSmallDisk, temporaryDirectory } from './support/small-disk.js';

async function node(t: Test, stateDirectory?: string) {
  const directory = stateDirectory ?? temporaryDirectory(t);
  const journal = join(directory, 'journal');
  await mkdir(journal, { recursive: true });
  const timers = new VirtualTimers();
  const logged: unknown[] = [];
  let closing = false;
  let drained = false;
  const readiness = new Readiness({
    ...{ journal, stateDirectory: directory, timers },
    closing: () => closing,
    drained: () => drained,
    logger: {
      info: (message: unknown) => logged.push(message),
      error: (fields: unknown) => logged.push(fields),
    } as never,
  });
  return {
    ...{ directory, journal, readiness, timers, logged },
    close: () => (closing = true),
    drain: () => (drained = true),
  };
}

await t.test('is ready, and leaves nothing behind', async (t) => {
  const { readiness, directory, journal, logged } = await node(t);
  t.same(await readiness.report(), { ready: true, failing: [], remarks: [] });
  t.same([await readdir(directory), await readdir(journal)], [['journal'], []]);
  t.same(logged, []);
});

await t.test('says that it is ending', async (t) => {
  const { readiness, close } = await node(t);
  close();
  t.same(await readiness.report(), { ready: false, failing: ['shutting-down'], remarks: [] });
});

await t.test('is ready while it is drained, and says so', async (t) => {
  const { readiness, drain, logged } = await node(t);
  drain();
  t.same(await readiness.report(), { ready: true, failing: [], remarks: ['drained'] });
  t.same(logged, []);
});

await t.test('notices a journal that is gone, and that it is back', async (t) => {
  const { readiness, journal, logged, timers } = await node(t);
  await rm(journal, { recursive: true });
  t.same(await readiness.report(), { ready: false, failing: ['journal'], remarks: [] });
  t.match(logged, [{ failing: ['journal'], journal: /ENOENT.*journal/, stateDirectory: null }]);
  await mkdir(journal);
  t.same((await readiness.report()).failing, ['journal'], 'who asks at once is told what was found');
  await timers.advance(PROBE_INTERVAL_MS);
  t.same(await readiness.report(), { ready: true, failing: [], remarks: [] });
  t.match(logged, [{}, 'the agent is ready again']);
});

await t.test('notices a disk that is full', { skip: cannotMount }, async (t) => {
  const disk = join(temporaryDirectory(t), 'disk');
  mountSmallDisk(t, disk, 2 ** 20);
  const { readiness, logged, timers } = await node(t, disk);
  const free = fill(disk);
  t.same((await readiness.report()).failing, ['journal', 'state-directory']);
  t.match(logged, [{ journal: /ENOSPC/ }]);
  free();
  await timers.advance(PROBE_INTERVAL_MS);
  t.ok((await readiness.report()).ready);
});

await t.test('does not wait for a file system that hangs, and does not ask it again', async (t) => {
  const { readiness, journal, timers, logged } = await node(t);
  const pipe = join(journal, '.readiness');
  execFileSync('mkfifo', [pipe]);
  for (let asked = 0; asked < 2; asked++) {
    const report = readiness.report();
    await timers.advance(PROBE_TIMEOUT_MS);
    t.ok((await report).failing.includes('journal'));
  }
  t.match(logged, [{ journal: /could not be written and read within 2000 ms/ }]);
  // What was written goes, and something else comes back: once, or this would not end.
  const other = spawn('sh', ['-c', 'cat "$0" >/dev/null; echo other > "$0"', pipe], { stdio: 'ignore' });
  const [, report] = await Promise.all([once(other, 'exit'), readiness.report()]);
  t.same(report.failing, ['journal']);
  await rm(pipe);
  await timers.advance(PROBE_INTERVAL_MS);
  t.ok((await readiness.report()).ready);
});
