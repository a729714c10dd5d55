import t from 'tap';
import {
  availableMemory,
  fileSystemOf,
  hugepagePools,
} from '../../../../agent/guest/qemu/host/host-memory.js';

void t.test('file systems by type', async (t) => {
  t.match(await fileSystemOf('/dev/shm'), { type: 'tmpfs', local: true });
  t.ok((await fileSystemOf('/dev/shm')).freeBytes > 0);
  t.match(await fileSystemOf('/proc'), { type: '0x9fa0', local: false }, 'one that is not known');
  await t.rejects(fileSystemOf('/no/such/directory'), { code: 'ENOENT' });
});

void t.test('memory of this host', async (t) => {
  t.ok((await availableMemory()) > 2 ** 20);
  const sizes = (await hugepagePools()).map(({ pageBytes }) => pageBytes);
  t.same(
    sizes,
    sizes.toSorted((a, b) => a - b),
  );
  t.ok(sizes.includes(2 * 2 ** 20));
});
