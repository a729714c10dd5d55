import { test } from 'tap';
import type { GuestFacts } from '../../../../agent/guest/qemu/preflight/guest-facts.js';
import { checkSource } from '../../../../agent/guest/qemu/preflight/source-rules.js';
import { definition, GIB, guestFacts, MIB, summary } from './samples.js';

const UFFD = { kind: 'userfaultfd', reason: 'Linux 6.18 has it' } as const;
const HASH = { kind: 'hash', reason: 'it is configured' } as const;
const SOFT_DIRTY = { kind: 'soft-dirty', reason: 'Linux 5.10 has no PAGEMAP_SCAN' } as const;

const RAM = { id: 'ram0', bytes: GIB, shared: true, file: '/dev/shm/a.ram', pageBytes: 4096 };
const ODIRECT = [
  { name: 'disk0', driver: 'qcow2', file: '/srv/a.qcow2', direct: true },
  { name: '#block1', driver: 'file', file: '/srv/a.qcow2', direct: true },
  { name: 'disk1', driver: 'raw', file: '/srv/b', direct: false },
];

void test('a guest that can be moved', (t) => {
  t.same(summary(checkSource(guestFacts(), UFFD)), ['note write-log']);
  t.same(summary(checkSource(guestFacts(), SOFT_DIRTY)), ['note write-log']);
  t.same(summary(checkSource(guestFacts(), HASH)), ['warning write-log']);
  t.end();
});

void test('each thing that speaks for or against it', (t) => {
  const cases: [string, Partial<GuestFacts>, string, string, RegExp][] = [
    [
      'memory of QEMU alone',
      { memory: [{ ...RAM, id: 'pc.ram', shared: false, file: null }] },
      'refusal memory-not-shared',
      'refusal memory-not-shared',
      /^memory object pc.ram \(1.0 GiB\): is in no file/,
    ],
    [
      'a file, not shared',
      { memory: [{ ...RAM, shared: false }] },
      'refusal memory-not-shared',
      'refusal memory-not-shared',
      /share=off/,
    ],
    [
      'memory plugged in',
      { memory: [RAM, { ...RAM, id: 'dimm1', bytes: 512 * MIB }] },
      'refusal memory-extra',
      'refusal memory-extra',
      /^memory object dimm1 \(512 MiB\): is not part of the definition/,
    ],
    [
      'memory of another size',
      { memory: [{ ...RAM, bytes: 2 * GIB }] },
      'refusal memory-extra',
      'refusal memory-extra',
      /ram0/,
    ],
    [
      'O_DIRECT',
      { blockNodes: ODIRECT },
      'refusal direct-io',
      'note direct-io',
      /^disk \/srv\/a.qcow2: .*cache.direct=on/,
    ],
    [
      'vfio',
      { devices: [{ name: 'gpu', type: 'vfio-pci' }] },
      'refusal vfio',
      'refusal vfio',
      /^device gpu \(vfio-pci\): is a device of the host/,
    ],
    [
      'a vfio file that is open',
      { openDevices: ['/dev/vfio/12'] },
      'refusal vfio',
      'refusal vfio',
      /^device \/dev\/vfio\/12/,
    ],
    [
      'a vhost-user device',
      { devices: [{ name: 'fs', type: 'vhost-user-fs-pci' }] },
      'refusal vhost-user',
      'refusal vhost-user',
      /served by another process/,
    ],
    [
      'a vhost-user network',
      { netdevs: [{ name: 'net0', type: 'vhost-user' }] },
      'refusal vhost-user',
      'refusal vhost-user',
      /^device net0/,
    ],
    [
      'ivshmem',
      { devices: [{ name: 'device[0]', type: 'ivshmem-plain' }] },
      'refusal ivshmem',
      'refusal ivshmem',
      /shares memory/,
    ],
    [
      'a process that has its memory mapped',
      { foreignMappings: [{ pid: 77, command: 'dpdk' }] },
      'refusal foreign-mapping',
      'warning foreign-mapping',
      /^process 77 \(dpdk\): has the guest's memory mapped/,
    ],
    [
      'vhost in the kernel',
      { openDevices: ['/dev/vhost-net'] },
      'note vhost-kernel',
      'note vhost-kernel',
      /^\/dev\/vhost-net: writes through QEMU's own page tables/,
    ],
    [
      'a balloon',
      { devices: [{ name: 'balloon0', type: 'virtio-balloon-pci' }] },
      'note balloon',
      'note balloon',
      /^device balloon0: what the guest gives back is/,
    ],
    [
      'QEMU refuses',
      { blockedReasons: ["The 'vvfat' block device does not support migration"] },
      'refusal migration-blocked',
      'refusal migration-blocked',
      /^QEMU: does not migrate the guest: The 'vvfat' block/,
    ],
    [
      'QEMU is too old',
      { migrationCapabilities: new Set(['events']) },
      'refusal qemu-capabilities',
      'refusal qemu-capabilities',
      /lacks .* pause-before-switchover, x-ignore-shared/,
    ],
  ];
  for (const [name, changes, tracked, hashed, text] of cases) {
    const others = (log: typeof UFFD | typeof SOFT_DIRTY | typeof HASH) =>
      checkSource(guestFacts(changes), log).filter(({ code }) => code !== 'write-log');
    const findings = others(UFFD);
    t.same(summary(findings), [tracked], name);
    t.same(summary(others(SOFT_DIRTY)), [tracked], `${name}, soft-dirty`);
    t.same(summary(others(HASH)), [hashed], `${name}, hash`);
    const [finding] = findings;
    t.match(`${finding?.subject}: ${finding?.reason}`, text, name);
    t.equal(finding?.remedy === '', finding?.severity === 'note', `${name}: a remedy where one is needed`);
  }
  t.end();
});

void test('several memory objects', (t) => {
  const split = definition({ memoryObjects: [{ size: '512MiB' }, { size: '512MiB' }] });
  const memory = [
    { ...RAM, bytes: 512 * MIB },
    { ...RAM, id: 'ram1', bytes: 512 * MIB },
  ];
  t.same(summary(checkSource(guestFacts({ definition: split, memory }), UFFD)), ['note write-log']);
  t.same(summary(checkSource(guestFacts({ definition: split, memory: [...memory, RAM] }), UFFD)), [
    'refusal memory-extra',
    'note write-log',
  ]);
  t.end();
});
