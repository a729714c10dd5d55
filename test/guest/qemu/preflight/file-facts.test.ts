import { createHash } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { bootFileFacts, diskFacts } from '../../../../agent/guest/qemu/preflight/file-facts.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

void t.test('a kernel is known by its content, also after it was replaced', async (t) => {
  const kernel = join(t.testdir({ vmlinuz: 'one' }), 'vmlinuz');
  t.match(await bootFileFacts({ kernel }), [{ what: 'kernel', sha256: sha256('one'), problem: null }]);
  t.match(await bootFileFacts({ kernel }), [{ sha256: sha256('one') }]);
  await writeFile(kernel, 'two');
  t.match(await bootFileFacts({ kernel, initrd: kernel }), [
    { what: 'kernel', sha256: sha256('two') },
    { what: 'initrd', sha256: sha256('two') },
  ]);
});

void t.test('what is no file is not read: a peer may have named it', async (t) => {
  const directory = t.testdir({ vmlinuz: '' });
  const kernel = join(directory, 'vmlinuz');
  await truncate(kernel, 2 ** 40);
  t.match(await bootFileFacts({ kernel, initrd: '/dev/zero' }), [
    { sha256: null, problem: /1099511627776 bytes/ },
    { sha256: null, problem: /no regular file/ },
  ]);
  t.match(await bootFileFacts({ kernel: directory }), [{ sha256: null, problem: /no regular file/ }]);
  t.match(await bootFileFacts({ kernel: join(directory, 'none') }), [{ sha256: null, problem: /ENOENT/ }]);
});

void t.test('disks: files, devices, and what is there no more', async (t) => {
  const disk = join(t.testdir({ disk: 'x'.repeat(512) }), 'disk');
  t.match(await diskFacts(disk, false), { problem: null, kind: 'file', bytes: 512 });
  t.match(await diskFacts('/dev/zero', true), { kind: 'other', bytes: 0 });
  t.match(await diskFacts(`${disk}-2`, true), { problem: /ENOENT/, identity: '' });
});
