import type { HostCpu } from '../host/cpu-features.js';
import type { FileSystem, HugepagePool } from '../host/host-memory.js';
import type { QemuHost } from '../host/qemu-host.js';
import type { FileFacts } from './file-facts.js';

/** What a host has for a guest that is to come. */
export interface TargetFacts extends FileFacts {
  /** Null if there is none that works, and then why. */
  readonly qemu: QemuHost | null;
  readonly qemuProblem: string;
  readonly cpu: HostCpu;
  readonly memoryDirectory: string;
  /** Null if there is no such directory. */
  readonly memoryFileSystem: FileSystem | null;
  /** bytes */
  readonly availableMemory: number;
  readonly hugepages: readonly HugepagePool[];
  readonly taps: readonly TapFacts[];
  readonly bootId: string;
}

/** A network interface by the name of one of the definition's tap devices. */
export interface TapFacts {
  readonly name: string;
  readonly exists: boolean;
  /** A program has it open. */
  readonly busy: boolean;
}
