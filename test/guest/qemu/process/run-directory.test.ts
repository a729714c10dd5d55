import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { GuestRecord } from '../../../../agent/guest/qemu/process/guest-record.js';
import { identifyProcess } from '../../../../agent/guest/qemu/process/process-identity.js';
import { clearRemains } from '../../../../agent/guest/qemu/process/remains.js';
import { RunDirectory } from '../../../../agent/guest/qemu/process/run-directory.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

/** Not t.testdir(): a socket's path must be short. */
function directoryOf(t: Test): RunDirectory {
  const base = mkdtempSync(join(tmpdir(), 'run-'));
  t.teardown(() => rmSync(base, { recursive: true }));
  return new RunDirectory(join(base, 'run'), 'web');
}

const recordOf = (directory: RunDirectory, fields: Partial<GuestRecord> = {}): GuestRecord => ({
  version: 1,
  definition: QemuDefinitionSchema.parse({ name: 'web', kind: 'qemu', memory: '64MiB' }),
  node: 'a',
  process: null,
  wanted: 'running',
  incoming: 'migration-1',
  ramFiles: [join(directory.path, 'ram')],
  qmpSocket: directory.qmpSocket,
  consoleBase: 7,
  accel: 'tcg',
  ...fields,
});

void test('keeps a record for the next agent, and is nobody else’s to read', async (t) => {
  const directory = directoryOf(t);
  t.notOk(directory.recorded);
  await directory.create();
  t.equal(statSync(directory.path).mode & 0o777, 0o700);
  const record = recordOf(directory);
  directory.write(record);
  t.ok(directory.recorded);
  t.same(await directory.read(), record);
  await directory.create();
  t.notOk(directory.recorded, 'made anew');
  await directory.remove();
  await directory.remove();
  t.notOk(existsSync(directory.path));
});

void test('a record that is damaged is named', async (t) => {
  const directory = directoryOf(t);
  await directory.create();
  await t.rejects(directory.read(), { code: 'guest-failed', message: /guest\.json is not readable: ENOENT/ });
  const file = join(directory.path, 'guest.json');
  directory.write(recordOf(directory));
  writeFileSync(file, readFileSync(file, 'utf8').replace('"running"', '"flying"'));
  await t.rejects(directory.read(), { code: 'guest-failed', message: /guest\.json is not valid: wanted: / });
});

void test('paths that are too long for a socket are refused', async (t) => {
  const base = join(tmpdir(), 'x'.repeat(80));
  const directory = new RunDirectory(base, 'a-name-of-some-length');
  await t.rejects(directory.create(), {
    code: 'guest-failed',
    message: /has \d+ bytes and a unix socket's path at most 107: configure a shorter runDirectory/,
  });
  t.notOk(existsSync(base));
});

void test('what QEMU said last is quoted from its end', async (t) => {
  const directory = directoryOf(t);
  t.equal(directory.lastWords(), '');
  await directory.create();
  writeFileSync(directory.qemuLog, `${'x'.repeat(1000)}the end\n`);
  t.equal(directory.lastWords().length, 500);
  t.match(directory.lastWords(), /xthe end$/);
});

void test('remains are cleared away, but never those of a process that lives', async (t) => {
  const directory = directoryOf(t);
  await clearRemains(directory, 'a');
  await directory.create();
  directory.write(recordOf(directory, { process: identifyProcess(process.pid) }));
  await t.rejects(clearRemains(directory, 'a'), {
    code: 'guest-failed',
    message: /VM web runs here already \(pid \d+\)/,
  });
  t.ok(directory.recorded);
  directory.write(recordOf(directory, { process: { pid: process.pid, startTime: '1', bootId: 'before' } }));
  writeFileSync(join(directory.path, 'ram'), '');
  await t.rejects(clearRemains(directory, 'b'), { code: 'guest-failed', message: /is that of node a: give/ });
  t.ok(existsSync(join(directory.path, 'ram')), 'nor those of another node');
  await clearRemains(directory, 'a');
  t.notOk(existsSync(directory.path));
});
