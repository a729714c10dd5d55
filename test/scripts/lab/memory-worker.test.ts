import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { buildGuestProgram } from '../../../scripts/lab/guests/linux/linux-guest.js';

const MIB = 2 ** 20;
const MEMORY_MIB = 4;

void t.test('the guest program that checks memory finds one wrong bit', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-worker-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const program = join(directory, 'memory-worker');
  await buildGuestProgram('memory-worker', program);
  const worker = spawn(program, ['3', String(MEMORY_MIB), '0'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => worker.kill('SIGKILL'));
  const exited = once(worker, 'exit');
  const lines = createInterface(worker.stdout)[Symbol.asyncIterator]();
  const nextLine = async () => String((await lines.next()).value);
  t.equal(await nextLine(), `worker 3: filled MiB ${MEMORY_MIB}`);
  for (const pass of [1, 2, 3]) t.equal(await nextLine(), `worker 3: checked all of it, pass ${pass}`);

  await flipBit(worker.pid!);
  let line = await nextLine();
  while (line.startsWith('worker 3: checked')) line = await nextLine();
  t.match(line, /^FAILED: worker 3, page 1023, generation 1, word 511 is \w+ and should be \w+$/);
  t.same(await exited, [1, null]);
});

/** Changes the last word of the memory that the process works on. */
async function flipBit(pid: number): Promise<void> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const ranges = [...maps.matchAll(/^(\w+)-(\w+) rw-p 00000000 00:00 0/gm)].map(([, start, end]) => ({
    start: Number.parseInt(start!, 16),
    bytes: Number.parseInt(end!, 16) - Number.parseInt(start!, 16),
  }));
  const memory = ranges.find(({ bytes }) => bytes >= MEMORY_MIB * MIB && bytes < (MEMORY_MIB + 1) * MIB);
  if (!memory) throw new Error(`the worker has no memory of ${MEMORY_MIB} MiB: ${maps}`);
  // The kernel may have put the table of generations before it, in one range.
  const last = memory.start + memory.bytes - 8;
  const file = await open(`/proc/${pid}/mem`, 'r+');
  try {
    const word = Buffer.alloc(8);
    await file.read(word, 0, 8, last);
    word[0] = word[0]! ^ 1;
    await file.write(word, 0, 8, last);
  } finally {
    await file.close();
  }
}
