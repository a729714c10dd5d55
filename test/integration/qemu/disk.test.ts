import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { gapsIn } from '../../../scripts/lab/guest-transcript.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** A disk on storage that both nodes reach, written to while its guest moves. */

const MIGRATIONS = 6;
const DISK_BYTES = 256 * 2 ** 20;

const run = promisify(execFile);
const sbin = { env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } };

await t.test('every file that was durable is there, and the file system is clean', async (t) => {
  const lab = await QemuLab.start(t);
  const image = join(lab.agents.directory, 'disk.img');
  await writeFile(image, '');
  await truncate(image, DISK_BYTES);
  await run('mkfs.ext4', ['-q', '-F', image], sbin);
  const transcript = await lab.bootLinux('a', 'writer', { disk: true }, { disks: [{ file: image }] });
  let [here, there] = ['a', 'b'];
  for (let migration = 1; migration <= MIGRATIONS; migration += 1) {
    await transcript.another(/^wrote/);
    const { outcome, error } = await lab.agents.migrate('writer', here, there);
    t.same({ outcome, error }, { outcome: 'completed', error: null }, `migration ${migration}`);
    [here, there] = [there, here];
  }
  await transcript.another(/^wrote/);
  await lab.type(here, 'writer', 'finish');
  await transcript.printed(/disk is clean/);
  await lab.agents.client(here).changeGuest('writer', 'stop');

  t.same(transcript.lines(/FAILED|error/i), []);
  const written = transcript.lines(/^wrote /).map((line) => line.split(' '));
  t.same(gapsIn(written.map(([, number]) => Number(number))), []);
  await run('e2fsck', ['-fn', image], sbin);
  const wrong: string[] = [];
  for (const [, number, digest] of written) {
    if ((await digestOf(image, number!, lab.agents.directory)) !== digest) wrong.push(number!);
  }
  t.same(wrong, [], `${written.length} files have the content that was acknowledged`);
});

/** SHA-256 of a file in the file system of a disk image. */
async function digestOf(image: string, name: string, directory: string): Promise<string> {
  const copy = join(directory, 'file');
  await run('debugfs', ['-R', `dump /${name} ${copy}`, image], sbin);
  return createHash('sha256')
    .update(await readFile(copy))
    .digest('hex');
}
