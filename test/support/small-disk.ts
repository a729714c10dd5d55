import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { PAGE_SIZE } from '../../shared/page.js';

const MIB = 2 ** 20;

/** Why no file system can be mounted here; false if it can. */
export const cannotMount = process.getuid!() !== 0 && 'only root can mount a file system';

/** A file system of so many bytes at `path`, which ends with the test. */
export function mountSmallDisk(t: Test, path: string, bytes: number): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0700`, 'tmpfs', path]);
  t.teardown(() => void execFileSync('umount', ['--lazy', path]));
}

/** Takes all that is left of a file system, also where others write to it; returns how to give it back. */
export function fill(path: string): () => void {
  const file = join(path, 'fills-the-disk');
  const fd = openSync(file, 'w');
  try {
    for (const bytes of [MIB, PAGE_SIZE, 1]) writeUntilFull(fd, Buffer.alloc(bytes));
  } finally {
    closeSync(fd);
  }
  return () => rmSync(file);
}

function writeUntilFull(fd: number, content: Uint8Array): void {
  try {
    for (;;) writeSync(fd, content);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

export function temporaryDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'vmferry-full-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
