import { readFile } from 'node:fs/promises';
import { toMigrationError } from '../../../../shared/errors.js';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { readHostCpu } from '../host/cpu-features.js';
import { availableMemory, fileSystemOf, hugepagePools } from '../host/host-memory.js';
import type { QemuHost, QemuHostProbe } from '../host/qemu-host.js';
import { bootId, type FileFacts, fileFacts } from './file-facts.js';
import type { TapFacts, TargetFacts } from './target-facts.js';

/** What a host has for guests of any definition. */
export type HostFacts = Omit<TargetFacts, keyof FileFacts | 'taps'>;

/** Looks at this host for a guest of that definition; changes nothing. */
export async function gatherTargetFacts(
  definition: QemuDefinition,
  probe: QemuHostProbe,
  memoryDirectory: string,
): Promise<TargetFacts> {
  return {
    ...(await gatherHostFacts(probe, memoryDirectory)),
    ...(await fileFacts(definition)),
    taps: await Promise.all(definition.nics.map(({ tap }) => tapFacts(tap))),
  };
}

export async function gatherHostFacts(probe: QemuHostProbe, memoryDirectory: string): Promise<HostFacts> {
  return {
    ...(await qemuFacts(probe)),
    cpu: await readHostCpu(),
    memoryDirectory,
    memoryFileSystem: await fileSystemOf(memoryDirectory).catch(() => null),
    availableMemory: await availableMemory(),
    hugepages: await hugepagePools(),
    bootId: await bootId(),
  };
}

async function qemuFacts(probe: QemuHostProbe): Promise<{ qemu: QemuHost | null; qemuProblem: string }> {
  try {
    return { qemu: await probe.host(), qemuProblem: '' };
  } catch (error) {
    return { qemu: null, qemuProblem: toMigrationError(error).message };
  }
}

/** A tap device that a program has open has a carrier; one that is down tells none, and nobody can have it in use. */
async function tapFacts(name: string): Promise<TapFacts> {
  const interfaces = await readFile('/proc/net/dev', 'latin1');
  const exists = interfaces.split('\n').some((line) => line.trimStart().startsWith(`${name}:`));
  const carrier = await readFile(`/sys/class/net/${name}/carrier`, 'latin1').catch(() => '0');
  return { name, exists, busy: carrier.trim() === '1' };
}
