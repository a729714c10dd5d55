import { test } from 'tap';
import type { GuestFacts } from '../../../../agent/guest/qemu/preflight/guest-facts.js';
import type { TargetFacts } from '../../../../agent/guest/qemu/preflight/target-facts.js';
import { checkTarget } from '../../../../agent/guest/qemu/preflight/target-rules.js';
import { guestTraits } from '../../../../agent/guest/qemu/preflight/traits.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import {
  BOOT_ID,
  CPU,
  definition,
  DISK,
  GIB,
  guestFacts,
  MIB,
  QEMU_HOST,
  SHA256,
  summary,
  targetFacts,
} from './samples.js';

interface Case {
  readonly name: string;
  readonly source?: Partial<GuestFacts>;
  readonly target?: Partial<TargetFacts>;
  readonly definition?: QemuDefinition;
  /** What is found beside the usual notes. */
  readonly found: string[];
  readonly text?: RegExp;
}

const USUAL = new Set(['note qemu-version', 'note accelerator']);
const qemu = (changes: Partial<typeof QEMU_HOST>) => ({ qemu: { ...QEMU_HOST, ...changes } });
const kvmGuest = { accel: 'kvm', cpuModel: 'host' } as const;
const onKvm = definition({ accel: 'kvm' });
const noKvm = qemu({
  kvm: { usable: false, reason: 'no /dev/kvm' },
  cpuModels: { tcg: new Map(), kvm: null },
});
const disk = (changes: Partial<typeof DISK>) => ({ disks: [{ ...DISK, ...changes }] });
const EXT4 = { type: 'ext4', local: true };
const HUGE = definition({ memoryObjects: [{ size: '1GiB', hugepages: '2MiB' }] });
const pool = (freePages: number, mounted: boolean, pageBytes = 2 * MIB) => ({
  hugepages: [{ pageBytes, freePages, mounted }],
});

const CASES: readonly Case[] = [
  { name: 'a host that can take it', found: [] },
  // QEMU
  {
    name: 'no QEMU',
    target: { qemu: null, qemuProblem: 'there is no program qemu-system-x86_64' },
    found: ['refusal qemu-missing'],
    text: /QEMU: there is no program/,
  },
  {
    name: 'an older QEMU',
    target: qemu({ version: { major: 7, minor: 1, micro: 0, package: '' } }),
    found: ['warning qemu-older'],
    text: /QEMU 7.1.0: is older than the guest's QEMU 7.2.22/,
  },
  {
    name: 'a newer QEMU',
    target: qemu({ version: { major: 8, minor: 0, micro: 0, package: '' } }),
    found: [],
  },
  {
    name: 'an older fix of the same QEMU',
    target: qemu({ version: { major: 7, minor: 2, micro: 0, package: '' } }),
    found: [],
  },
  {
    name: 'a QEMU that can not',
    target: qemu({ migrationCapabilities: new Set(['events', 'pause-before-switchover']) }),
    found: ['refusal qemu-capabilities'],
    text: /x-ignore-shared/,
  },
  // machine
  {
    name: 'a machine type that is not known',
    source: { machine: 'pc-q35-9.0' },
    definition: definition({ machine: 'pc-q35-9.0' }),
    found: ['refusal machine-type'],
    text: /machine type pc-q35-9.0: QEMU 7.2 of this node does not have it/,
  },
  { name: 'an alias that means the same', definition: definition({ machine: 'q35,vmport=off' }), found: [] },
  {
    name: 'an alias that means another one here',
    source: { machine: 'pc-q35-7.1' },
    definition: definition({ machine: 'q35' }),
    found: ['refusal machine-version'],
    text: /the definition says q35, which on this node is pc-q35-7.2/,
  },
  // accelerator
  { name: 'KVM on both', source: kvmGuest, definition: onKvm, found: [] },
  {
    name: 'KVM that does not work here',
    source: kvmGuest,
    definition: onKvm,
    target: noKvm,
    found: ['refusal accelerator'],
    text: /no \/dev\/kvm/,
  },
  {
    name: 'auto, and TCG at the source',
    definition: definition({ accel: 'auto' }),
    found: ['refusal accelerator'],
    text: /it would run on kvm here/,
  },
  {
    name: 'auto, and KVM nowhere',
    definition: definition({ accel: 'auto' }),
    target: qemu({ kvm: { usable: false, reason: 'no /dev/kvm' } }),
    found: [],
  },
  { name: 'auto, and KVM on both', source: kvmGuest, definition: definition({ accel: 'auto' }), found: [] },
  // processor
  {
    name: 'a model that is not known',
    source: { cpuModel: 'Foo' },
    found: ['refusal cpu-model'],
    text: /CPU model Foo/,
  },
  {
    name: 'features that only the source has',
    source: { accel: 'kvm', cpuModel: 'EPYC', cpuLacks: ['svm'] },
    definition: onKvm,
    found: ['refusal cpu-features'],
    text: /the guest may use pcid, which this node lacks/,
  },
  {
    name: 'features that neither has',
    source: { accel: 'kvm', cpuModel: 'EPYC', cpuLacks: ['svm', 'pcid', 'more'] },
    definition: onKvm,
    found: [],
  },
  {
    name: 'the same host processor, newer',
    source: { ...kvmGuest, hostCpu: { ...CPU, signature: '25-1-1', flags: ['aes'] } },
    definition: onKvm,
    found: ['warning cpu-model'],
  },
  {
    name: 'a host processor with less',
    source: {
      ...kvmGuest,
      hostCpu: { ...CPU, flags: Array.from({ length: 20 }, (_, index) => `f${index + 10}`) },
    },
    definition: onKvm,
    found: ['refusal cpu-features'],
    text: /f10, .*f21 and 8 more/,
  },
  {
    name: 'a host processor by another maker',
    source: { ...kvmGuest, hostCpu: { ...CPU, vendor: 'GenuineIntel' } },
    definition: onKvm,
    found: ['refusal cpu-model'],
    text: /by GenuineIntel; that of this node is by AuthenticAMD/,
  },
  {
    name: 'whatever TCG can, of two versions',
    source: { cpuModel: 'max', version: { major: 7, minor: 0, micro: 0, package: '' } },
    found: ['warning cpu-model'],
  },
  { name: 'whatever TCG can, of one version', source: { cpuModel: 'max' }, found: [] },
  // memory
  {
    name: 'a memory file system that is full',
    target: { memoryFileSystem: { type: 'tmpfs', local: true, freeBytes: GIB - 1, totalBytes: 16 * GIB } },
    found: ['refusal target-out-of-memory'],
    text: /\/dev\/shm: has 1024 MiB free, and the guest's memory has 1.0 GiB/,
  },
  {
    name: 'a memory file system that fits exactly',
    target: {
      memoryFileSystem: { type: 'tmpfs', local: true, freeBytes: GIB, totalBytes: 16 * GIB },
      availableMemory: GIB,
    },
    found: [],
  },
  {
    name: 'a host without memory',
    target: { availableMemory: GIB / 2 },
    found: ['refusal target-out-of-memory'],
    text: /the memory of this node: has 512 MiB available/,
  },
  { name: 'no memory directory', target: { memoryFileSystem: null }, found: ['refusal memory-directory'] },
  {
    name: 'memory on a disk',
    target: { memoryFileSystem: { type: 'ext4', local: true, freeBytes: 8 * GIB, totalBytes: 16 * GIB } },
    found: ['warning memory-directory'],
  },
  { name: 'huge pages', definition: HUGE, target: pool(512, true), found: [] },
  {
    name: 'huge pages, too few',
    definition: HUGE,
    target: pool(500, true),
    found: ['refusal target-out-of-memory'],
    text: /500 are free, and the guest's memory takes 512/,
  },
  {
    name: 'more huge pages promised than there are',
    definition: HUGE,
    target: pool(-3, true),
    found: ['refusal target-out-of-memory'],
    text: /0 are free/,
  },
  {
    name: 'huge pages, not mounted',
    definition: HUGE,
    target: pool(512, false),
    found: ['refusal hugepages'],
  },
  {
    name: 'huge pages of another size',
    definition: HUGE,
    target: pool(512, true, GIB),
    found: ['refusal hugepages'],
    text: /huge pages of 2.0 MiB/,
  },
  {
    name: 'huge pages at the source alone',
    source: { memory: [{ id: 'ram0', bytes: GIB, shared: true, file: '/x', pageBytes: 2 * MIB }] },
    found: ['warning hugepages'],
  },
  // disks
  {
    name: 'a disk that is missing',
    target: disk({ problem: 'ENOENT' }),
    found: ['refusal disk-missing'],
    text: /ENOENT/,
  },
  { name: 'a disk that is a directory', target: disk({ kind: 'other' }), found: ['refusal disk-missing'] },
  {
    name: "a file of the target's own",
    target: disk({ fileSystem: EXT4 }),
    found: ['refusal disk-not-shared'],
    text: /disk \/srv\/disk.raw: is on ext4 here/,
  },
  {
    name: "a file of the target's own that is only read",
    definition: definition({ disks: [{ file: '/srv/disk.raw', readonly: true }] }),
    target: disk({ fileSystem: EXT4 }),
    found: ['warning disk-not-shared'],
  },
  {
    name: 'the same file, both agents on one host',
    target: { ...disk({ fileSystem: EXT4 }), bootId: BOOT_ID },
    found: [],
  },
  {
    name: 'another file, both agents on one host',
    target: { ...disk({ fileSystem: EXT4, identity: '40:99' }), bootId: BOOT_ID },
    found: ['refusal disk-not-shared'],
  },
  {
    name: 'another size',
    target: disk({ bytes: 2 * GIB }),
    found: ['refusal disk-not-shared'],
    text: /has 2.0 GiB here and 1.0 GiB at the source/,
  },
  {
    name: 'an image that grows',
    definition: definition({ disks: [{ file: '/srv/disk.raw', format: 'qcow2' }] }),
    target: disk({ bytes: 2 * GIB }),
    found: [],
  },
  {
    name: 'a block device',
    target: disk({ kind: 'block device', fileSystem: null, bytes: 0 }),
    found: [],
  },
  {
    name: 'a disk that the source does not see',
    source: { disks: [{ ...DISK, identity: '', problem: 'ENOENT' }] },
    target: disk({ fileSystem: EXT4 }),
    found: [],
  },
  // kernel and initrd
  {
    name: 'a kernel that is missing',
    target: {
      bootFiles: [{ what: 'kernel', path: '/boot/vmlinuz', sha256: null, problem: 'ENOENT' }],
    },
    found: ['refusal boot-file'],
    text: /kernel \/boot\/vmlinuz: can't be read on this node/,
  },
  {
    name: 'another initrd',
    target: { bootFiles: [{ what: 'initrd', path: '/boot/initrd', sha256: 'b'.repeat(64), problem: null }] },
    found: ['warning boot-file'],
    text: /after a reset/,
  },
  {
    name: 'a kernel that is gone at the source',
    source: { bootFiles: [{ what: 'kernel', path: '/boot/vmlinuz', sha256: null, problem: 'ENOENT' }] },
    target: { bootFiles: [{ what: 'kernel', path: '/boot/vmlinuz', sha256: SHA256, problem: null }] },
    found: [],
  },
  // network
  {
    name: 'no tap device',
    target: { taps: [{ name: 'tap0', exists: false, busy: false }] },
    found: ['refusal tap-missing'],
    text: /tap device tap0/,
  },
  {
    name: 'a tap device that is used',
    target: { taps: [{ name: 'tap0', exists: true, busy: true }] },
    found: ['refusal tap-busy'],
  },
];

for (const { name, source, target, definition: given, found, text } of CASES) {
  void test(name, (t) => {
    const traits = guestTraits(guestFacts(source));
    const findings = checkTarget(given ?? definition(), traits, targetFacts(target));
    const unusual = findings.filter((finding) => !summary([finding]).every((line) => USUAL.has(line)));
    t.same(summary(unusual), found);
    if (text) t.match(unusual.map(({ subject, reason }) => `${subject}: ${reason}`).join('\n'), text);
    for (const { code, remedy, severity } of findings) {
      t.equal(remedy === '', severity === 'note', `${code} has a remedy where one is needed`);
    }
    t.end();
  });
}

void test('a source that says nothing, or nonsense', (t) => {
  for (const traits of [{}, { ...guestTraits(guestFacts()), machine: '../../etc' }]) {
    const findings = checkTarget(definition(), traits, targetFacts());
    t.same(summary(findings), ['refusal traits-invalid']);
  }
  t.end();
});
