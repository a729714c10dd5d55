import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import {
  createRamFiles,
  planRamFiles,
  removeRamFiles,
} from '../../../../agent/guest/qemu/process/ram-files.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

const definition = (fields: object = {}) =>
  QemuDefinitionSchema.parse({ name: 'web', kind: 'qemu', memory: '64MiB', ...fields });

void test('one file a memory object, of holes, with a name of its own', async (t) => {
  const directory = t.testdir();
  const objects = { memoryObjects: [{ size: '16MiB' }, { size: '48MiB' }] };
  const files = await planRamFiles(definition(objects), 'a', directory);
  t.match(
    files.map(({ path }) => path.slice(directory.length)),
    [/^\/vmferry-a:web-\d+\.\d+\.[0-9a-f]{8}-0\.ram$/, /^\/vmferry-a:web-\d+\.\d+\.[0-9a-f]{8}-1\.ram$/],
  );
  t.not((await planRamFiles(definition(), 'a', directory))[0]!.path, files[0]!.path);
  await createRamFiles(files);
  for (const [index, { path }] of files.entries()) {
    const { size, blocks, mode } = statSync(path);
    t.same([size, blocks, mode & 0o777], [[16, 48][index]! * 2 ** 20, 0, 0o600]);
  }
  const paths = files.map(({ path }) => path);
  await removeRamFiles(paths);
  await removeRamFiles(paths);
  t.notOk(paths.some((path) => existsSync(path)));
});

void test('what can not be made is named', async (t) => {
  const directory = t.testdir();
  const missing = [{ path: join(directory, 'none', 'ram'), bytes: 4096 }];
  await t.rejects(createRamFiles(missing), {
    code: 'target-out-of-memory',
    message: /none\/ram of 4\.0 KiB can't be made: ENOENT/,
  });
  const taken = join(directory, 'taken');
  writeFileSync(taken, 'of somebody else');
  await t.rejects(createRamFiles([{ path: taken, bytes: 4096 }]), { message: /EEXIST/ });
  t.equal(statSync(taken).size, 16, 'is not touched');
});

void test('huge pages need a file system of that size', async (t) => {
  // Hosts for tests have none of 1 GiB.
  const huge = definition({ memory: '1GiB', memoryObjects: [{ size: '1GiB', hugepages: '1GiB' }] });
  await t.rejects(planRamFiles(huge, 'a', '/dev/shm'), {
    code: 'invalid-definition',
    message:
      /no hugetlbfs of them is mounted here: mount -t hugetlbfs -o pagesize=1024M none \/dev\/hugepages/,
  });
});
