import { open } from 'node:fs/promises';
import t from 'tap';
import { gapsIn } from '../../../scripts/lab/guest-transcript.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import { QemuLab } from '../../support/qemu-lab.js';

/**
 * A guest that writes each page of its memory in turn, moved there and back many times: its memory shows a page that is
 * older than the others, wherever it is, and its console a line that is lost or repeated.
 */

const MIGRATIONS = 50;
const MEMORY = 16 * 2 ** 20;
/** Any one. */
const STALE_PAGE = 2500;

await t.test('one stale page is found', async (t) => {
  const lab = await QemuLab.start(t, ['a']);
  await lab.bootPageWalker('a', 'walker', MEMORY);
  const client = lab.agents.client('a');
  await client.changeGuest('walker', 'pause');
  t.same(await lab.pageWalkDefects('a', 'walker'), []);
  const [ram] = await lab.ramFiles('a', 'walker');
  const file = await open(ram!, 'r+');
  const page = Buffer.alloc(PAGE_SIZE);
  await file.read(page, 0, PAGE_SIZE, STALE_PAGE * PAGE_SIZE);
  // As it was two passes ago, which is what a copy has that missed it in the last rounds.
  page.forEach((byte, at) => (page[at] = byte - 2));
  await file.write(page, 0, PAGE_SIZE, STALE_PAGE * PAGE_SIZE);
  await file.close();
  t.match(await lab.pageWalkDefects('a', 'walker'), [new RegExp(`^page ${STALE_PAGE} holds`)]);
});

await t.test(`${MIGRATIONS} migrations there and back leave no page stale`, async (t) => {
  const lab = await QemuLab.start(t);
  const transcript = await lab.bootPageWalker('a', 'walker', MEMORY);
  let [here, there] = ['a', 'b'];
  for (let migration = 1; migration <= MIGRATIONS; migration += 1) {
    const { outcome, error } = await lab.agents.migrate('walker', here, there);
    t.same({ outcome, error }, { outcome: 'completed', error: null }, `migration ${migration}`);
    [here, there] = [there, here];
    const client = lab.agents.client(here);
    await client.changeGuest('walker', 'pause');
    t.same(await lab.pageWalkDefects(here, 'walker'), [], `memory after migration ${migration}`);
    await client.changeGuest('walker', 'resume');
    t.same(await lab.remains(there), { files: [], processes: [] });
  }
  await transcript.another(/pass \w{8}/);
  const passes = transcript.lines(/^pass /).map((line) => Number.parseInt(line.slice(5), 16));
  t.same(gapsIn(passes), [], 'no line of the console was lost or repeated');
  t.same(transcript.defects, []);

  await lab.agents.client(here).changeGuest('walker', 'stop');
  t.same(await lab.remains(here), { files: [], processes: [] }, 'nothing of a stopped guest stays behind');
});
