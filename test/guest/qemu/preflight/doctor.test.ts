import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { QemuHostProbe } from '../../../../agent/guest/qemu/host/qemu-host.js';
import { checkHost, comparedFacts, doctorHost } from '../../../../agent/guest/qemu/preflight/doctor.js';
import { GIB, MIB, QEMU_HOST, summary, targetFacts } from './samples.js';

const UFFD = { kind: 'userfaultfd', reason: 'Linux 6.18 has it' } as const;
const HASH = { kind: 'hash', reason: 'nothing better works' } as const;

void t.test('a host by what is known of it', (t) => {
  const guestMemory = 4 * GIB;
  const find = (changes = {}, writeLog: typeof UFFD | typeof HASH = UFFD) =>
    summary(checkHost(targetFacts(changes), { writeLog, guestMemory }));
  t.same(find(), [
    'note qemu-version',
    'note accelerator',
    'note memory-directory',
    'note hugepages',
    'note write-log',
  ]);
  const without = { qemu: null, qemuProblem: 'no program', hugepages: [] };
  t.same(find(without, HASH), ['refusal qemu-missing', 'note memory-directory', 'warning write-log']);
  const kvm = { usable: false, reason: 'no /dev/kvm' };
  const weak = { ...QEMU_HOST, kvm, machines: new Map(), migrationCapabilities: new Set<string>() };
  t.same(find({ qemu: weak, memoryFileSystem: null }), [
    'note qemu-version',
    'refusal qemu-capabilities',
    'warning accelerator',
    'refusal memory-directory',
    'note write-log',
  ]);
  t.same(
    find({ memoryFileSystem: { type: 'xfs', local: true, freeBytes: GIB, totalBytes: 16 * GIB } }).slice(2),
    ['warning memory-directory', 'note write-log'],
  );
  const unmounted = { hugepages: [{ pageBytes: 2 * MIB, freePages: 3, mounted: false }] };
  t.match(
    checkHost(targetFacts(unmounted), { writeLog: UFFD, guestMemory }).map(({ reason }) => reason),
    [/./, /./, /./, '3 are free, and no file system of them is mounted', /./],
  );
  const small = { type: 'tmpfs', local: true, freeBytes: GIB, totalBytes: 4 * GIB - 1 };
  t.same(find({ memoryFileSystem: small }).slice(2, 3), ['warning memory-directory'], 'VMs may have more');
  t.end();
});

void t.test('this host', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-doctor-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const input = {
    probe: new QemuHostProbe('qemu-system-x86_64'),
    memoryDirectory: '/dev/shm',
    runDirectory: join(directory, 'not', 'yet', 'there'),
    writeLog: UFFD,
    guestMemory: MIB,
  };
  const { findings, qemu } = await doctorHost(input);
  t.match(comparedFacts(qemu!), { version: /^\d+\.\d+\.\d+$/, machines: /pc-q35-/ });
  t.match(
    findings.map(({ code }) => code),
    ['qemu-version', 'accelerator', 'memory-directory'],
  );
  t.match(findings[0]?.subject, /^QEMU \d+\.\d+\.\d+$/);
  t.match(findings.at(-1), { code: 'run-directory', severity: 'note' });
  t.notOk(findings.some(({ severity }) => severity === 'refusal'));

  const { findings: bad } = await doctorHost({
    ...input,
    runDirectory: '/dev/null/vmferry',
    memoryDirectory: '/no/such',
  });
  t.match(bad.at(-1), { code: 'run-directory', severity: 'refusal' });
  t.ok(summary(bad).includes('refusal memory-directory'));
});
