import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { QemuHostProbe } from '../../../../agent/guest/qemu/host/qemu-host.js';
import { gatherGuestFacts } from '../../../../agent/guest/qemu/preflight/gather-guest-facts.js';
import { gatherTargetFacts } from '../../../../agent/guest/qemu/preflight/gather-target-facts.js';
import { checkSource } from '../../../../agent/guest/qemu/preflight/source-rules.js';
import { checkTarget } from '../../../../agent/guest/qemu/preflight/target-rules.js';
import { guestTraits } from '../../../../agent/guest/qemu/preflight/traits.js';
import { RealQemu } from '../qmp/real-qemu.js';
import { definition, MIB, summary } from './samples.js';

const UFFD = { kind: 'userfaultfd', reason: 'the kernel has it' } as const;
const BASE = ['-accel', 'tcg', '-m', '64'];

/** Started with a disk image of 8 MiB; ended with the test. */
async function started(t: Test, parameters: (disk: string, directory: string) => string[]) {
  const disk = join(t.testdir({}), 'disk.raw');
  await writeFile(disk, '');
  await truncate(disk, 8 * MIB);
  const qemu = await RealQemu.start((directory) => [...BASE, ...parameters(disk, directory)]);
  t.teardown(() => qemu.stop());
  const qmp = await qemu.connect();
  t.teardown(() => qmp.close());
  return { qemu, qmp, disk };
}

const sharedRam = (directory: string) => [
  ...['-machine', 'q35,memory-backend=ram0'],
  ...['-object', `memory-backend-file,id=ram0,size=64M,mem-path=${directory}/ram,share=on`],
];

function blockdev(disk: string, direct: boolean): string[] {
  const file = { driver: 'file', filename: disk, cache: { direct } };
  return [
    ...['-blockdev', JSON.stringify({ 'node-name': 'disk0', driver: 'raw', file })],
    ...['-device', 'virtio-blk-pci,id=disk0-device,drive=disk0'],
  ];
}

void t.test('a guest as the agent starts it', async (t) => {
  const { qemu, qmp, disk } = await started(t, (disk, directory) => [
    ...sharedRam(directory),
    ...blockdev(disk, false),
    ...['-netdev', 'user,id=nic0,restrict=on', '-device', 'virtio-net-pci,id=nic0-device,netdev=nic0'],
  ]);
  const defined = definition({
    memory: '64MiB',
    boot: undefined,
    nics: [],
    disks: [{ file: disk }],
    machine: 'q35',
  });
  const facts = await gatherGuestFacts(qmp, qemu.pid, defined, []);
  t.match(facts, {
    machine: /^pc-q35-\d+\.\d+$/,
    accel: 'tcg',
    cpuModel: 'qemu64',
    cpuLacks: [],
    memory: [{ id: 'ram0', bytes: 64 * MIB, shared: true, file: /ram$/, pageBytes: 4096 }],
    blockNodes: [
      { name: 'disk0', driver: 'raw', file: disk, direct: false },
      { driver: 'file', direct: false },
    ],
    devices: [
      { name: 'disk0-device', type: 'virtio-blk-pci' },
      { name: 'nic0-device', type: 'virtio-net-pci' },
    ],
    netdevs: [{ name: 'nic0', type: 'user' }],
    openDevices: [],
    blockedReasons: [],
    disks: [{ path: disk, problem: null, kind: 'file', bytes: 8 * MIB }],
  });
  t.same(summary(checkSource(facts, UFFD)), ['note write-log']);

  const target = await gatherTargetFacts(defined, new QemuHostProbe('qemu-system-x86_64'), '/dev/shm');
  t.same(
    summary(checkTarget(defined, guestTraits(facts), target)),
    ['note qemu-version', 'note accelerator'],
    'its own host can take it: the disk is the same file',
  );
});

void t.test('a guest with much that speaks against it', async (t) => {
  const { qemu, qmp, disk } = await started(t, (disk) => [
    ...['-machine', 'pc', '-cpu', 'max'],
    ...blockdev(disk, true),
    ...['-device', 'virtio-balloon-pci,id=balloon0'],
    ...['-object', 'memory-backend-ram,id=shared,size=1M,share=on', '-device', 'ivshmem-plain,memdev=shared'],
    ...['-drive', 'file=fat:/proc/self/attr,format=vvfat,if=none,id=fat'],
  ]);
  const defined = definition({
    memory: '64MiB',
    boot: { kernel: '/no/such/kernel' },
    nics: [{ tap: 'vmferry-none', mac: '52:54:00:00:00:01' }],
    disks: [{ file: disk }, { file: '/no/such/disk' }, { file: '/proc', format: 'raw' }],
  });
  const facts = await gatherGuestFacts(qmp, qemu.pid, defined, [{ pid: 1, command: 'init' }]);
  t.match(facts, {
    machine: /^pc-i440fx-/,
    cpuModel: 'max',
    bootFiles: [{ what: 'kernel', sha256: null, problem: /ENOENT/ }],
    disks: [{ problem: null }, { problem: /ENOENT/, identity: '' }, { kind: 'other' }],
  });
  t.same(summary(checkSource(facts, UFFD)).sort(), [
    'note balloon',
    'note write-log',
    'refusal direct-io',
    'refusal foreign-mapping',
    'refusal ivshmem',
    'refusal memory-not-shared',
    'refusal memory-not-shared',
    'refusal migration-blocked',
  ]);

  const target = await gatherTargetFacts(defined, new QemuHostProbe('/no/such/qemu'), '/no/such/directory');
  t.match(target, {
    qemu: null,
    memoryFileSystem: null,
    taps: [{ name: 'vmferry-none', exists: false, busy: false }],
  });
  t.same(summary(checkTarget(defined, guestTraits(facts), target)), ['refusal qemu-missing']);
});
