import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import type { HostCpu } from '../host/cpu-features.js';
import type { QemuVersion } from '../qmp/qmp-message.js';
import type { FileFacts } from './file-facts.js';

/** What QEMU and its host say of a running guest. */
export interface GuestFacts extends FileFacts {
  readonly definition: QemuDefinition;
  readonly version: QemuVersion;
  /** Never an alias: 'pc-q35-7.2'. */
  readonly machine: string;
  readonly accel: 'kvm' | 'tcg';
  /** 'qemu64', 'host', 'EPYC' */
  readonly cpuModel: string;
  /** Features of that model that the guest does not have, because this host or QEMU has not. */
  readonly cpuLacks: readonly string[];
  readonly memory: readonly MemoryFacts[];
  readonly blockNodes: readonly BlockNodeFacts[];
  /** Devices that were asked for, by the user or the definition, with QEMU's type: 'virtio-net-pci'. */
  readonly devices: readonly NamedType[];
  /** Back ends of network devices, with their type: 'tap', 'vhost-user'. */
  readonly netdevs: readonly NamedType[];
  /** Files under /dev/vfio and /dev/vhost-* that QEMU has open. */
  readonly openDevices: readonly string[];
  /** Why QEMU itself would not migrate it, in its words. */
  readonly blockedReasons: readonly string[];
  readonly migrationCapabilities: ReadonlySet<string>;
  /** Processes beside QEMU and the agent that have the guest's memory mapped. */
  readonly foreignMappings: readonly { readonly pid: number; readonly command: string }[];
  readonly hostCpu: HostCpu;
  readonly bootId: string;
}

/** A memory object of QEMU. */
export interface MemoryFacts {
  readonly id: string;
  readonly bytes: number;
  readonly shared: boolean;
  /** Path of the file that it is in; null if it is in none. */
  readonly file: string | null;
  /** Of the pages that back it. */
  readonly pageBytes: number;
}

/** A node of QEMU's block graph. */
export interface BlockNodeFacts {
  readonly name: string;
  /** 'qcow2', 'raw', 'file', 'host_device' */
  readonly driver: string;
  /** As QEMU names it. */
  readonly file: string;
  /** O_DIRECT: the kernel reads and writes guest memory itself. */
  readonly direct: boolean;
}

export interface NamedType {
  readonly name: string;
  readonly type: string;
}
