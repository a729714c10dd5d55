import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toMigrationError } from '../../../../shared/errors.js';
import { formatBytes } from '../../../../shared/units.js';
import type { QemuHost, QemuHostProbe } from '../host/qemu-host.js';
import { type Finding, note, refusal, warning } from './findings.js';
import { gatherHostFacts, type HostFacts } from './gather-target-facts.js';
import { missingCapabilities } from './migration-capabilities.js';
import type { WriteLogFacts } from './source-rules.js';

export interface DoctorInput {
  readonly probe: QemuHostProbe;
  readonly memoryDirectory: string;
  readonly runDirectory: string;
  /** The one that guests of this host would get. */
  readonly writeLog: WriteLogFacts;
  /** Most memory of all guests together. bytes */
  readonly guestMemory: number;
}

/** How fit this host is for QEMU guests, whichever. */
export async function doctorHost(
  input: DoctorInput,
): Promise<{ findings: Finding[]; qemu: QemuHost | null }> {
  const facts = await gatherHostFacts(input.probe, input.memoryDirectory);
  const runDirectory = await runDirectoryFinding(input.runDirectory);
  return { findings: [...checkHost(facts, input), runDirectory], qemu: facts.qemu };
}

/** The same of what is known of a host already. */
export function checkHost(
  facts: HostFacts,
  { writeLog, guestMemory }: Pick<DoctorInput, 'writeLog' | 'guestMemory'>,
): Finding[] {
  return [...qemuFindings(facts), ...memoryFindings(facts, guestMemory), writeLogFinding(writeLog)];
}

/** What is compared between nodes. */
export function comparedFacts({ version, machines }: QemuHost): { version: string; machines: string[] } {
  const { major, minor, micro } = version;
  return { version: `${major}.${minor}.${micro}`, machines: [...new Set(machines.values())].sort() };
}

function qemuFindings({ qemu, qemuProblem }: HostFacts): Finding[] {
  if (!qemu) {
    return [refusal('qemu-missing', 'QEMU', qemuProblem, 'install it: apt-get install qemu-system-x86')];
  }
  const { major, minor, micro } = qemu.version;
  const subject = `QEMU ${major}.${minor}.${micro}`;
  const machine = qemu.machines.get('q35');
  return [
    note('qemu-version', subject, `${qemu.binary}${machine === undefined ? '' : `; q35 is ${machine}`}`),
    ...missingCapabilities(subject, qemu.migrationCapabilities),
    qemu.kvm.usable
      ? note('accelerator', 'KVM', `works: ${qemu.kvm.reason}`)
      : warning(
          'accelerator',
          'KVM',
          `does not work, guests run on TCG and are slow: ${qemu.kvm.reason}`,
          'load kvm_intel or kvm_amd, switch virtualization on in the firmware, and let the agent open /dev/kvm',
        ),
  ];
}

function memoryFindings(facts: HostFacts, guestMemory: number): Finding[] {
  const { memoryDirectory, memoryFileSystem: system, availableMemory, hugepages } = facts;
  if (!system) {
    const remedy = 'make it, or name a tmpfs in qemu.memoryDirectory';
    return [refusal('memory-directory', memoryDirectory, 'is not there, or may not be read', remedy)];
  }
  if (system.type !== 'tmpfs' && system.type !== 'hugetlbfs') {
    const reason = `is on ${system.type}: guests' memory would be written to a disk`;
    return [warning('memory-directory', memoryDirectory, reason, 'name a tmpfs in qemu.memoryDirectory')];
  }
  const free = `${formatBytes(system.freeBytes)} free for guests' memory, ${formatBytes(availableMemory)} available to programs`;
  const pools = hugepages.filter(({ freePages }) => freePages > 0);
  return [
    system.type === 'tmpfs' && system.totalBytes < guestMemory
      ? warning(
          'memory-directory',
          memoryDirectory,
          `is a tmpfs of ${formatBytes(system.totalBytes)}, and guestMemory lets VMs have ${formatBytes(guestMemory)}`,
          `mount -o remount,size=${Math.ceil(guestMemory / 2 ** 20)}M ${memoryDirectory} (and in /etc/fstab), or lower 'guestMemory'`,
        )
      : note('memory-directory', memoryDirectory, `is a ${system.type} with ${free}`),
    ...pools.map(({ pageBytes, freePages, mounted }) =>
      note(
        'hugepages',
        `huge pages of ${formatBytes(pageBytes)}`,
        `${freePages} are free${mounted ? '' : ', and no file system of them is mounted'}`,
      ),
    ),
  ];
}

function writeLogFinding({ kind, reason }: WriteLogFacts): Finding {
  const subject = `write-log ${kind}`;
  if (kind !== 'hash') return note('write-log', subject, reason);
  return warning('write-log', subject, reason, 'Linux 6.7 or newer, and an agent that runs as root');
}

async function runDirectoryFinding(directory: string): Promise<Finding> {
  try {
    await access(await existing(directory), constants.W_OK | constants.X_OK);
    return note('run-directory', directory, 'can be written to');
  } catch (error) {
    const remedy = 'let the agent write to it, or name another in runDirectory';
    return refusal(
      'run-directory',
      directory,
      `can't be written to: ${toMigrationError(error).message}`,
      remedy,
    );
  }
}

/** The directory, or the nearest one above it that is there: the agent makes what is missing. */
async function existing(directory: string): Promise<string> {
  try {
    await access(directory);
    return directory;
  } catch (error) {
    const above = dirname(directory);
    if (above === directory) throw error;
    return await existing(above);
  }
}
