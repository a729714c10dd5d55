import type { HostCpu } from '../../../../agent/guest/qemu/host/cpu-features.js';
import type { QemuHost } from '../../../../agent/guest/qemu/host/qemu-host.js';
import type { DiskFacts } from '../../../../agent/guest/qemu/preflight/file-facts.js';
import type { Finding } from '../../../../agent/guest/qemu/preflight/findings.js';
import type { GuestFacts } from '../../../../agent/guest/qemu/preflight/guest-facts.js';
import { NEEDED_CAPABILITIES } from '../../../../agent/guest/qemu/preflight/migration-capabilities.js';
import type { TargetFacts } from '../../../../agent/guest/qemu/preflight/target-facts.js';
import { type QemuDefinition, QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;
export const BOOT_ID = '4f1c8e0a-0000-4000-8000-000000000001';
export const OTHER_BOOT_ID = '4f1c8e0a-0000-4000-8000-000000000002';
export const SHA256 = 'a'.repeat(64);

/** A definition with what preflight looks at: a disk, a tap device, a kernel. */
export function definition(changes: object = {}): QemuDefinition {
  return QemuDefinitionSchema.parse({
    name: 'vm',
    kind: 'qemu',
    memory: '1GiB',
    machine: 'pc-q35-7.2',
    accel: 'tcg',
    boot: { kernel: '/boot/vmlinuz', initrd: '/boot/initrd' },
    disks: [{ file: '/srv/disk.raw' }],
    nics: [{ tap: 'tap0', mac: '52:54:00:00:00:01' }],
    ...changes,
  });
}

export const CPU: HostCpu = {
  vendor: 'AuthenticAMD',
  signature: '25-17-1',
  name: 'EPYC',
  flags: ['aes', 'avx2', 'sse2'],
};

export const DISK: DiskFacts = {
  path: '/srv/disk.raw',
  problem: null,
  kind: 'file',
  identity: '40:1234',
  bytes: GIB,
  fileSystem: { type: 'nfs', local: false },
};

const BOOT_FILES = [
  { what: 'kernel', path: '/boot/vmlinuz', sha256: SHA256, problem: null },
  { what: 'initrd', path: '/boot/initrd', sha256: SHA256, problem: null },
] as const;

/** A guest that can be moved. */
export function guestFacts(changes: Partial<GuestFacts> = {}): GuestFacts {
  return {
    definition: definition(),
    version: { major: 7, minor: 2, micro: 22, package: '' },
    machine: 'pc-q35-7.2',
    accel: 'tcg',
    cpuModel: 'qemu64',
    cpuLacks: [],
    memory: [{ id: 'ram0', bytes: GIB, shared: true, file: '/dev/shm/a.ram', pageBytes: 4096 }],
    blockNodes: [
      { name: 'disk0', driver: 'raw', file: '/srv/disk.raw', direct: false },
      { name: '#block1', driver: 'file', file: '/srv/disk.raw', direct: false },
    ],
    devices: [
      { name: 'disk0-device', type: 'virtio-blk-pci' },
      { name: 'nic0-device', type: 'virtio-net-pci' },
    ],
    netdevs: [{ name: 'nic0', type: 'tap' }],
    openDevices: [],
    blockedReasons: [],
    migrationCapabilities: new Set(NEEDED_CAPABILITIES),
    foreignMappings: [],
    hostCpu: CPU,
    disks: [DISK],
    bootFiles: BOOT_FILES,
    bootId: BOOT_ID,
    ...changes,
  };
}

export const QEMU_HOST: QemuHost = {
  binary: '/usr/bin/qemu-system-x86_64',
  version: { major: 7, minor: 2, micro: 22, package: '' },
  arch: 'x86_64',
  machines: new Map([
    ['pc-q35-7.2', 'pc-q35-7.2'],
    ['pc-q35-7.1', 'pc-q35-7.1'],
    ['q35', 'pc-q35-7.2'],
  ]),
  kvm: { usable: true, reason: 'a guest executed its first instructions' },
  cpuModels: {
    tcg: new Map([
      ['qemu64', []],
      ['max', []],
      ['EPYC', ['svm']],
    ]),
    kvm: new Map([
      ['qemu64', []],
      ['host', []],
      ['EPYC', ['svm', 'pcid']],
    ]),
  },
  migrationCapabilities: new Set(NEEDED_CAPABILITIES),
};

/** A host that can take that guest. */
export function targetFacts(changes: Partial<TargetFacts> = {}): TargetFacts {
  return {
    qemu: QEMU_HOST,
    qemuProblem: '',
    cpu: CPU,
    memoryDirectory: '/dev/shm',
    memoryFileSystem: { type: 'tmpfs', local: true, freeBytes: 8 * GIB, totalBytes: 16 * GIB },
    availableMemory: 8 * GIB,
    hugepages: [{ pageBytes: 2 * MIB, freePages: 1024, mounted: true }],
    disks: [DISK],
    taps: [{ name: 'tap0', exists: true, busy: false }],
    bootFiles: BOOT_FILES,
    bootId: OTHER_BOOT_ID,
    ...changes,
  };
}

/** 'refusal direct-io', in order. */
export function summary(findings: readonly Finding[]): string[] {
  return findings.map(({ severity, code }) => `${severity} ${code}`);
}
