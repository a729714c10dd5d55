import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { workReports } from '../../../scripts/bench/work-rate.js';
import { buildGuestProgram } from '../../../scripts/lab/guests/linux/linux-guest.js';

/** Activity, content, MiB, MiB to rewrite, pages a second. */
const LOADS = [
  'rewrite incompressible 4 1 0',
  'rewrite compressible 4 1 4000',
  'xor zero-rich 4 0 0',
  'read incompressible 4 0 0',
];

await t.test('the workload of a guest reports what it has done by its own clock', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-workload-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const program = join(directory, 'workload');
  await buildGuestProgram('workload', program);
  for (const load of LOADS) {
    const worker = spawn(program, load.split(' '), { stdio: ['ignore', 'pipe', 'ignore'] });
    t.teardown(() => worker.kill('SIGKILL'));
    const lines = createInterface(worker.stdout)[Symbol.asyncIterator]();
    const nextLine = async () => `${String((await lines.next()).value)}\n`;
    t.equal(await nextLine(), 'workload: ready\n', load);
    const reports = workReports((await nextLine()) + (await nextLine()) + (await nextLine()));
    t.equal(reports.length, 3, load);
    const [first, second, third] = reports as [WorkReport, WorkReport, WorkReport];
    t.ok(first.pages < second.pages && second.pages < third.pages, load);
    t.ok(first.microseconds < second.microseconds && second.microseconds < third.microseconds, load);
    worker.kill('SIGKILL');
  }
});

type WorkReport = ReturnType<typeof workReports>[number];
