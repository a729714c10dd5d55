import { stat } from 'node:fs/promises';
import t from 'tap';
import { QemuLab } from '../../support/qemu-lab.js';

/** Guests of other shapes: more processors, more memory objects, much memory of which little is used, paused ones. */

const GIB = 2 ** 30;
const MIB = 2 ** 20;

const lab = await QemuLab.start(t);

await t.test('two processors, each with a process that checks memory of its own', async (t) => {
  const worker = { mib: 16, hotMiB: 8 } as const;
  const transcript = await lab.bootLinux('a', 'two', { memory: [worker, worker] }, { cpus: 2 });
  t.match(transcript.text, /booted with 2 processors/);
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'b'],
  ] as const) {
    t.match(await lab.agents.migrate('two', from, to, { verify: 'strict' }), {
      outcome: 'completed',
      verify: { mismatches: 0 },
    });
    await transcript.another(/worker 1: checked/);
    await transcript.another(/worker 2: checked/);
  }
  t.same(transcript.lines(/FAILED/), []);
  await lab.agents.client('b').changeGuest('two', 'stop');
});

await t.test('memory in several objects', async (t) => {
  const memoryObjects = [{ size: '64MiB' }, { size: '96MiB' }, { size: '32MiB' }];
  const work = { memory: [{ mib: 64, hotMiB: 8 }] } as const;
  const transcript = await lab.bootLinux('a', 'several', work, { memory: '192MiB', memoryObjects });
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const result = await lab.agents.migrate('several', from, to, { verify: 'strict' });
    t.match(result, { outcome: 'completed', ramBytes: 192 * MIB, verify: { mismatches: 0 } });
    t.equal((await lab.ramFiles(to, 'several')).length, 3);
    await transcript.another(/checked all of it/);
  }
  t.same(transcript.lines(/FAILED/), []);
  await lab.agents.client('a').changeGuest('several', 'stop');
});

await t.test(
  '4 GiB of which little is used: the rest is neither sent nor becomes memory on the target',
  async (t) => {
    const work = { memory: [{ mib: 32, hotMiB: 4 }] } as const;
    const transcript = await lab.bootLinux('a', 'large', work, { memory: '4GiB' });
    const result = await lab.agents.migrate('large', 'a', 'b', { verify: 'strict' });
    t.match(result, { outcome: 'completed', ramBytes: 4 * GIB, verify: { mismatches: 0 } });
    t.ok(result.populatedBytes < GIB, `${result.populatedBytes} bytes are in use`);
    t.ok(result.wireBytes < GIB, `${result.wireBytes} bytes were sent`);
    await transcript.another(/checked all of it/);
    const used = await usedBytes(await lab.ramFiles('b', 'large'));
    t.ok(used < GIB, `${used} bytes are used on the target`);
    await lab.agents.client('b').changeGuest('large', 'stop');
  },
);

await t.test('a guest that its operator has paused moves, and stays paused', async (t) => {
  const transcript = await lab.bootPageWalker('a', 'paused', 64 * MIB);
  await lab.agents.client('a').changeGuest('paused', 'pause');
  t.match(await lab.agents.migrate('paused', 'a', 'b', { verify: 'strict' }), {
    outcome: 'completed',
    verify: { mismatches: 0 },
  });
  t.same(await lab.agents.whereIs('paused'), { b: 'paused' });
  t.same(await lab.pageWalkDefects('b', 'paused'), []);
  await lab.agents.client('b').changeGuest('paused', 'resume');
  await transcript.another(/pass \w{8}/);
  await lab.agents.client('b').changeGuest('paused', 'stop');
});

await t.test('nothing of them stays behind', async (t) => {
  for (const node of ['a', 'b']) t.same(await lab.remains(node), { files: [], processes: [] });
});

/** What files take of the memory that they lie in. */
async function usedBytes(files: readonly string[]): Promise<number> {
  const blocks = await Promise.all(files.map(async (file) => (await stat(file)).blocks));
  return blocks.reduce((sum, count) => sum + count * 512, 0);
}
