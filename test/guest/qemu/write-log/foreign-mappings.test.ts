import { test } from 'tap';
import { foreignMappings } from '../../../../agent/guest/qemu/write-log/foreign-mappings.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { WriterProcess } from './writer-process.js';

void test('processes that can write to the memory are found, without those that are known', async (t) => {
  const [writer, other] = await Promise.all([
    WriterProcess.start(t, 16 * PAGE_SIZE),
    WriterProcess.start(t, 16 * PAGE_SIZE),
  ]);
  t.same(foreignMappings(writer.files, []), [{ pid: writer.pid, command: 'node' }]);
  t.same(foreignMappings(writer.files, [writer.pid]), []);
  const both = [...writer.files, ...other.files];
  t.same(new Set(foreignMappings(both, []).map(({ pid }) => pid)), new Set([writer.pid, other.pid]));
});
