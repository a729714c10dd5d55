import type { PreflightFinding } from '../../../../shared/protocol/messages.js';

/** What preflight can find, by code. Codes are for programs; what a finding says in words is for people. */
export const FINDING_CODES = {
  // the hypervisor
  'qemu-missing': 'there is no QEMU, or none that works',
  'qemu-version': 'the version of QEMU',
  'qemu-older': 'the target has an older QEMU than the guest was started with',
  'qemu-capabilities': 'QEMU lacks something that its migration needs',
  'machine-type': 'QEMU does not know the machine type',
  'machine-version': "a machine type without a version is another one in the target's QEMU",
  accelerator: 'the accelerator that executes the guest, or none that is the same',
  'cpu-model': 'QEMU does not know the CPU model, or it is of another kind there',
  'cpu-features': 'the processor of the target lacks features that the guest may use',
  // memory
  'memory-not-shared': "the guest's memory is not in a file that QEMU shares",
  'memory-extra': 'the guest has memory that its definition does not tell',
  'memory-directory': "the file system for guests' memory",
  'target-out-of-memory': "the guest's memory does not fit",
  hugepages: 'huge pages of that size are missing, too few, or other ones',
  // tracking writes
  'write-log': 'how writes are followed, and why so',
  'direct-io': 'a disk is read by the kernel straight into guest memory',
  'vhost-user': 'another process serves a device and writes guest memory',
  vfio: 'a device of the host writes guest memory',
  ivshmem: 'memory is shared with other machines',
  'foreign-mapping': 'another process has mapped guest memory',
  'vhost-kernel': 'the kernel serves a device and writes guest memory',
  balloon: 'the guest can give memory back to the host',
  'migration-blocked': 'QEMU says that the guest cannot be migrated',
  // files and network
  'disk-missing': 'a disk is not there, or may not be opened',
  'disk-not-shared': 'a disk of that path is another one on the target',
  'boot-file': 'kernel or initrd are missing, or others, on the target',
  'tap-missing': 'a tap device is not there',
  'tap-busy': 'a tap device is in use',
  'run-directory': 'the directory for sockets and consoles of guests',
  // what the peer says
  'refused-by-policy': 'the definition has something that this node takes from no peer',
  'traits-invalid': 'what the source tells of the guest is not understood',
} as const satisfies Record<string, string>;

export type FindingCode = keyof typeof FINDING_CODES;

/** 'refusal': nothing is begun; 'warning': it goes on, and the operator should know; 'note': all is well. */
export type Severity = 'refusal' | 'warning' | 'note';

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** The thing: 'disk /srv/a.qcow2', 'QEMU 7.2.22'. */
  readonly subject: string;
  /** What is so, and what follows from it. */
  readonly reason: string;
  /** What to do about it; empty for a note. */
  readonly remedy: string;
}

export function refusal(code: FindingCode, subject: string, reason: string, remedy: string): Finding {
  return { code, severity: 'refusal', subject, reason, remedy };
}

export function warning(code: FindingCode, subject: string, reason: string, remedy: string): Finding {
  return { code, severity: 'warning', subject, reason, remedy };
}

export function note(code: FindingCode, subject: string, reason: string): Finding {
  return { code, severity: 'note', subject, reason, remedy: '' };
}

/** Characters of what a finding says, findings of one report: all of them fit into one control message. */
const MAX_MESSAGE = 600;
const MAX_REMEDY = 300;
const MAX_FINDINGS = 48;

const ORDER: readonly Severity[] = ['refusal', 'warning', 'note'];

/** As the API and the protocol tell it: the worst first, and not more than fit. */
export function toPreflightFindings(findings: readonly Finding[]): PreflightFinding[] {
  return ORDER.flatMap((severity) => findings.filter((finding) => finding.severity === severity))
    .slice(0, MAX_FINDINGS)
    .map(({ code, severity, subject, reason, remedy }) => ({
      level: severity === 'note' ? 'ok' : severity,
      code,
      message: `${subject}: ${reason}`.slice(0, MAX_MESSAGE),
      ...(remedy === '' ? {} : { remedy: remedy.slice(0, MAX_REMEDY) }),
    }));
}
