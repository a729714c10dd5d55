import { closeSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import type { Test } from 'tap';

let files = 0;

/** An empty RAM file of that size, removed when the test ends. Returns its path. */
export function ramFile(t: Test, bytes: number): string {
  files += 1;
  const path = `/dev/shm/vmferry-test-${process.pid}-${files}.ram`;
  const fd = openSync(path, 'wx+');
  t.teardown(() => rmSync(path, { force: true }));
  ftruncateSync(fd, bytes);
  closeSync(fd);
  return path;
}
