import type { QemuDefinition } from '../../../../shared/guest-definition.js';

/** What a QEMU is started from. */
export interface Launch {
  readonly definition: QemuDefinition;
  /** What executes the guest's instructions; the definition may have left the choice open. */
  readonly accel: 'kvm' | 'tcg';
  /** One file a memory object, in their order. */
  readonly ramFiles: readonly string[];
  readonly qmpSocket: string;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  /** Files among the definition's disks that are block devices. */
  readonly blockDevices: ReadonlySet<string>;
  /** Whether system calls are denied that it does not need. */
  readonly sandbox: boolean;
  /** Wait for a migration; otherwise boot. Either way nothing runs until it is told to. */
  readonly incoming: boolean;
}

type Disk = QemuDefinition['disks'][number];
type Nic = QemuDefinition['nics'][number];

/**
 * No system calls that are obsolete, that start programs, or that change users, priorities or processors: QEMU ends with SIGSYS
 * where it makes one, or goes on without for those of the last kind. It keeps what a write-log needs.
 */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/**
 * The arguments of a QEMU. They are a function of the definition alone but for paths, so that both ends of a migration
 * have the same devices in the same places. Values of the definition stay values: none can add an option.
 */
export function qemuArguments(launch: Launch): string[] {
  const { definition, accel, incoming } = launch;
  const { boot } = definition;
  return [
    ...['-name', `guest=${value(definition.name)}`],
    ...memoryArguments(launch),
    ...['-accel', accel],
    ...(definition.cpu === undefined ? [] : ['-cpu', definition.cpu]),
    ...['-smp', String(definition.cpus)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none'],
    // An argument of the definition's own can only deny more: filters add up.
    ...(launch.sandbox ? ['-sandbox', SANDBOX] : []),
    // A guest that powers itself off stays to be looked at.
    ...['-no-shutdown', '-S'],
    ...monitorArguments(launch.qmpSocket),
    ...(definition.serial ? consoleArguments(launch) : []),
    ...(boot ? ['-kernel', boot.kernel] : []),
    ...(boot?.initrd === undefined ? [] : ['-initrd', boot.initrd]),
    ...(boot?.append === undefined ? [] : ['-append', boot.append]),
    ...(definition.disks.some((disk) => disk.interface === 'scsi')
      ? ['-device', 'virtio-scsi-pci,id=scsi']
      : []),
    ...definition.disks.flatMap((disk, index) => diskArguments(disk, index, launch.blockDevices)),
    ...definition.nics.flatMap(nicArguments),
    ...(incoming ? ['-incoming', 'defer'] : []),
    ...definition.arguments,
  ];
}

/** A monitor at that socket. */
export function monitorArguments(path: string): string[] {
  return ['-chardev', qmpSocketArgument(path), '-mon', 'chardev=qmp,mode=control'];
}

/**
 * The argument by which a QEMU of ours is known among all processes: no other has that socket. QEMU waits for its agent
 * before it goes on: with 'wait=off' its main loop and its monitor's thread accept the first connection both, and the one
 * that comes too late hangs there (seen with QEMU 7.2).
 */
export function qmpSocketArgument(path: string): string {
  return `socket,id=qmp,path=${value(path)},server=on,wait=on`;
}

function memoryArguments({ definition: { machine, memory, memoryObjects }, ramFiles }: Launch): string[] {
  const sizes = memoryObjects?.map(({ size }) => size) ?? [memory];
  const objects = sizes.flatMap((size, index) => [
    '-object',
    `memory-backend-file,id=ram${index},size=${size},mem-path=${value(ramFiles[index]!)},share=on`,
  ]);
  const one = sizes.length === 1;
  return [
    // With a description of itself a saved state takes a third longer to save, and nobody reads it.
    ...['-machine', `type=${value(machine)}${one ? ',memory-backend=ram0' : ''},suppress-vmdesc=on`],
    ...['-m', `size=${memory}B`],
    ...objects,
    ...(one ? [] : sizes.flatMap((_, index) => ['-numa', `node,nodeid=${index},memdev=ram${index}`])),
  ];
}

/** The first serial port, kept in a file whether somebody is connected or not. */
function consoleArguments({ consoleSocket, consoleLog }: Launch): string[] {
  const log = `logfile=${value(consoleLog)},logappend=on`;
  return [
    ...['-chardev', `socket,id=console,path=${value(consoleSocket)},server=on,wait=off,${log}`],
    ...['-serial', 'chardev:console'],
  ];
}

function diskArguments(disk: Disk, index: number, blockDevices: ReadonlySet<string>): string[] {
  const { file, format, cache, readonly, serial } = disk;
  const node = `disk${index}`;
  const blockdev = {
    'node-name': node,
    driver: format,
    'read-only': readonly,
    file: {
      driver: blockDevices.has(file) ? 'host_device' : 'file',
      filename: file,
      'read-only': readonly,
      cache: { direct: cache === 'none' || cache === 'directsync', 'no-flush': cache === 'unsafe' },
    },
  };
  const writeCache = cache === 'writethrough' || cache === 'directsync' ? 'off' : 'on';
  const device = [
    DISK_DEVICES[disk.interface],
    `id=${node}-device`,
    `drive=${node}`,
    `write-cache=${writeCache}`,
    ...(serial === undefined ? [] : [`serial=${value(serial)}`]),
  ];
  return ['-blockdev', JSON.stringify(blockdev), '-device', device.join(',')];
}

const DISK_DEVICES: { readonly [I in Disk['interface']]: string } = {
  virtio: 'virtio-blk-pci',
  scsi: 'scsi-hd,bus=scsi.0',
  ide: 'ide-hd',
};

function nicArguments({ tap, mac, model }: Nic, index: number): string[] {
  return [
    ...['-netdev', `tap,id=nic${index},ifname=${value(tap)},script=no,downscript=no`],
    ...['-device', `${value(model)},id=nic${index}-device,netdev=nic${index},mac=${mac}`],
  ];
}

/** A value inside of an option list: QEMU reads two commas as one that separates nothing. */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}
