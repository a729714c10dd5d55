import type { Test } from 'tap';
import { chooseWriteLog } from '../../../../agent/guest/qemu/write-log/choose-write-log.js';
import type { Run } from '../../../../shared/page.js';
import { pagesOf, WriterProcess } from './writer-process.js';

/** Runs under a kernel that has soft-dirty bits; prints a line of JSON for each fact. */

const PAGES = 1024;
const ROUNDS = 50;

const tell = (fact: string, value: unknown): void => console.log(JSON.stringify({ fact, value }));
// The machine is switched off afterwards: nothing is to be removed.
const writer = await WriterProcess.start({ teardown: () => undefined } as unknown as Test, PAGES * 4096);
await writer.do('write', [1, 2, 3]);

const { pid, regions } = writer;
const best = await chooseWriteLog({ pid, regions, choice: 'auto' });
tell('best', best.kind);
tell('why', best.reason);
const log = await chooseWriteLog({ pid, regions, choice: 'soft-dirty' });
await log.start();
const harvest = async (): Promise<number[]> => pagesOf(await log.harvest());
tell('at the start', await harvest());

let seed = 1;
const someNumber = (): number => (seed = (seed * 48_271) % 0x7fffffff);
let wrong: { written: number[]; told: Run[] } | null = null;
for (let round = 0; round < ROUNDS && wrong === null; round += 1) {
  const pages = Array.from({ length: 20 }, () => someNumber() % PAGES);
  await writer.do('write', pages.slice(0, 12));
  await writer.do('kernel-write', pages.slice(12, 16));
  await writer.do('read', pages.slice(16));
  const written = [...new Set(pages.slice(0, 16))].sort((a, b) => a - b);
  const told = await log.harvest();
  if (JSON.stringify(pagesOf(told)) !== JSON.stringify(written)) wrong = { written, told };
}
tell('wrong harvest', wrong);

await writer.do('write', [7, 8]);
await harvest();
await writer.do('clear', [7]);
tell('given back', await harvest());
await writer.do('map-again');
tell('mapped again', await log.harvest().catch((error: Error) => error.message));
await log.start();
await writer.kill();
tell('ended', await log.harvest().catch((error: { code: string }) => error.code));
await log.stop();
process.exit();
