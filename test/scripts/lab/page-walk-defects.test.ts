import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { pageMarkers, pageWalkDefects } from '../../../scripts/lab/guests/boot-sector/page-walk-defects.js';

/** `count` markers in the middle of a pass that has done `done` of them. */
const midPass = (pass: number, done: number, count = 100) =>
  Uint8Array.from({ length: count }, (_, page) => (page < done ? pass + 1 : pass));

/** Whether the markers are those of some moment of some pass. */
function isAnyMoment(markers: Uint8Array): boolean {
  return markers.some((_, done) =>
    [markers[0]!, markers[0]! - 1].some((pass) => Buffer.compare(midPass(pass, done), markers) === 0),
  );
}

void t.test('a pass at any place of it is right, also where the byte overflows', (t) => {
  for (const pass of [0, 7, 254, 255]) {
    for (const done of [0, 1, 50, 99, 100]) {
      t.same(pageWalkDefects(midPass(pass, done)), [], `pass ${pass}, ${done} pages done`);
    }
  }
  t.end();
});

void t.test('any page that is older or newer is found', (t) => {
  for (const done of [0, 1, 50, 99, 100]) {
    for (const page of [1, 30, 49, 50, 51, 98, 99]) {
      for (const wrong of [-2, -1, 1, 2, 100]) {
        const markers = midPass(7, done);
        markers[page] = markers[page]! + wrong;
        const found = pageWalkDefects(markers).length > 0;
        t.equal(found, !isAnyMoment(markers), `${done} done, page ${page} by ${wrong}`);
      }
    }
  }
  t.end();
});

void t.test('the defects say which page holds what, and are not endless', (t) => {
  const markers = midPass(7, 50);
  markers[20] = 3;
  t.same(pageWalkDefects(markers), ['page 276 holds 3, not 8 (the first page holds 8)']);
  t.equal(pageWalkDefects(Uint8Array.from({ length: 100 }, (_, page) => page * 3)).length, 10);
  t.end();
});

void t.test('the markers are read from RAM files that follow each other, from 1 MiB on', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-markers-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const pages = 300;
  const ram = Buffer.alloc(pages * 4096);
  for (let page = 0; page < pages; page += 1) ram[page * 4096 + 0x123] = page & 255;
  const files = [join(directory, 'ram0'), join(directory, 'ram1')];
  await writeFile(files[0]!, ram.subarray(0, 270 * 4096));
  await writeFile(files[1]!, ram.subarray(270 * 4096));
  const expected = Array.from({ length: pages - 256 }, (_, index) => index & 255);
  t.same([...(await pageMarkers(files))], expected);
});
