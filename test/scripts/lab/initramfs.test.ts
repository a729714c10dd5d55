import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { initramfs } from '../../../scripts/lab/guests/linux/initramfs.js';

void t.test('cpio unpacks the archive', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vmferry-initramfs-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const program = Buffer.from('#!/bin/sh\n');
  const odd = Buffer.from([0, 1, 2, 255, 10]);
  const archive = initramfs([
    { name: 'bin', mode: 0o040755 },
    { name: 'bin/program', mode: 0o100750, content: program },
    { name: 'odd', mode: 0o100644, content: odd },
    { name: 'empty', mode: 0o100600 },
  ]);
  t.equal(archive.length % 4, 0);
  execFileSync('busybox', ['cpio', '-id'], { cwd: directory, input: archive, stdio: 'pipe' });
  t.same(readFileSync(join(directory, 'bin/program')), program);
  t.equal(statSync(join(directory, 'bin/program')).mode & 0o777, 0o750);
  t.same(readFileSync(join(directory, 'odd')), odd);
  t.equal(statSync(join(directory, 'empty')).size, 0);
  t.end();
});

void t.test('a device keeps its numbers', (t) => {
  const header = initramfs([{ name: 'dev/console', mode: 0o020600, device: [5, 1] }]).toString('latin1');
  const field = (index: number) => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
  t.equal(header.slice(0, 6), '070701');
  t.equal(field(1), 0o020600);
  t.same([field(9), field(10)], [5, 1]);
  t.equal(field(11), 'dev/console'.length + 1);
  t.end();
});
