import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatBytes } from '../../shared/units.js';
import type { HostFacts } from './host-facts.js';

/** The API alone may hold 1024 connections, and each guest, migration and peer takes some more. */
const ENOUGH_FILES = 4096;

export interface GuestMemory {
  /** 'guestMemory' in the configuration, and what of it is taken. bytes */
  readonly limitBytes: number;
  readonly usedBytes: number;
}

/** What of a host is in the way of its agent and of the guests that it may have. */
export function checkHost(host: HostFacts, memory: GuestMemory): PreflightFinding[] {
  return [
    { level: 'ok', code: 'kernel', message: `Linux ${host.kernel}, Node.js ${host.nodejs}` },
    ...memoryFindings(host, memory),
    ...limitFindings(host, memory),
    ...clockFindings(host),
  ];
}

function memoryFindings(host: HostFacts, { limitBytes, usedBytes }: GuestMemory): PreflightFinding[] {
  const { totalMemory, availableMemory, groupMemory } = host;
  const limit = `guestMemory is ${formatBytes(limitBytes)}`;
  const code = 'guest-memory';
  if (totalMemory !== null && limitBytes > totalMemory) {
    const message = `${limit}, and the host has ${formatBytes(totalMemory)} of memory in all`;
    return [{ level: 'warning', code, message, remedy: "lower 'guestMemory' in the agent's configuration" }];
  }
  if (groupMemory !== null && limitBytes > groupMemory) {
    const message = `${limit}, and the agent's control group may have ${formatBytes(groupMemory)}: what arrives of VMs counts there, and the kernel ends what is beyond`;
    const remedy = "raise MemoryMax= of the agent's unit, or lower 'guestMemory'";
    return [{ level: 'warning', code, message, remedy }];
  }
  const free = limitBytes - usedBytes;
  if (availableMemory !== null && free > availableMemory) {
    const message = `${limit}, ${formatBytes(free)} of it free, and the host has ${formatBytes(availableMemory)} available: a VM that fits by the configuration may not`;
    const remedy = "lower 'guestMemory', or end what else takes memory on this host";
    return [{ level: 'warning', code, message, remedy }];
  }
  return [{ level: 'ok', code, message: `${limit}, ${formatBytes(free)} of it free` }];
}

function limitFindings({ openFiles, fileSize }: HostFacts, memory: GuestMemory): PreflightFinding[] {
  const findings: PreflightFinding[] = [];
  if (openFiles !== null && openFiles < ENOUGH_FILES) {
    findings.push({
      ...{ level: 'warning', code: 'open-files' },
      message: `the agent may have ${openFiles} files open: with many VMs and connections that is too few`,
      remedy: `LimitNOFILE=${4 * ENOUGH_FILES} in its unit, or 'ulimit -n'`,
    });
  }
  if (fileSize !== null && fileSize < memory.limitBytes) {
    findings.push({
      ...{ level: 'warning', code: 'file-size' },
      message: `the agent may write files of ${formatBytes(fileSize)} at most: the memory of a larger VM is a file that it can't`,
      remedy: "LimitFSIZE=infinity in its unit, or 'ulimit -f unlimited'",
    });
  }
  return findings;
}

function clockFindings({ clockKept }: HostFacts): PreflightFinding[] {
  if (clockKept === null) return [];
  if (clockKept) {
    return [{ level: 'ok', code: 'clock-kept', message: "a program keeps this host's clock in time" }];
  }
  return [
    {
      ...{ level: 'warning', code: 'clock-not-kept' },
      message:
        "nothing keeps this host's clock in time: by it migrations have their turns, and certificates their dates",
      remedy: 'install and start chrony or systemd-timesyncd',
    },
  ];
}
