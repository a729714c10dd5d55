import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { formatBytes } from '../../../../shared/units.js';
import type { DiskFacts } from './file-facts.js';
import { type Finding, refusal, warning } from './findings.js';
import type { TargetFacts } from './target-facts.js';
import type { DiskTraits, GuestTraits } from './traits.js';

type Disk = QemuDefinition['disks'][number];

/** Whether disks, kernel and initrd are here, and the same as at the source. */
export function fileRules(definition: QemuDefinition, guest: GuestTraits, facts: TargetFacts): Finding[] {
  return [
    ...definition.disks.flatMap((disk, index) => {
      const here = facts.disks[index];
      const there = guest.disks.find((traits) => traits.index === index);
      return here ? diskRules(disk, here, there, guest.boot === facts.bootId) : [];
    }),
    ...bootRules(guest, facts),
  ];
}

function diskRules(disk: Disk, here: DiskFacts, there: DiskTraits | undefined, sameHost: boolean): Finding[] {
  const subject = `disk ${disk.file}`;
  if (here.problem !== null) {
    const remedy = 'make the storage that it is on available on this node too, under the same path';
    return [refusal('disk-missing', subject, `can't be opened on this node: ${here.problem}`, remedy)];
  }
  if (here.kind === 'other') {
    const reason = 'is neither a file nor a block device on this node';
    return [refusal('disk-missing', subject, reason, 'put the same storage there on both nodes')];
  }
  // Nothing can be told of a disk that the source could not look at.
  if (!there) return [];
  if (sameHost && here.identity === there.identity) return [];
  const other = differentFile(disk, here, there, sameHost);
  if (other === null) return [];
  const remedy =
    'put the disk on storage that both nodes reach (NFS, Ceph, a block device), under the same path';
  return [
    disk.readonly
      ? warning('disk-not-shared', subject, other, remedy)
      : refusal('disk-not-shared', subject, other, remedy),
  ];
}

/** Why the disk is certainly another one here; null where it may be the same. */
function differentFile(disk: Disk, here: DiskFacts, there: DiskTraits, sameHost: boolean): string | null {
  const system = here.fileSystem;
  if (system?.local) {
    const where = sameHost
      ? 'is another file for this agent than for the source'
      : `is on ${system.type} here`;
    return `${where}, which no other node has: what the guest has written is not in it`;
  }
  if (disk.format !== 'raw' || here.kind !== 'file' || here.bytes === there.bytes) return null;
  return `has ${formatBytes(here.bytes)} here and ${formatBytes(there.bytes)} at the source: it is another one`;
}

/** They are read again when the guest resets, and only then. */
function bootRules(guest: GuestTraits, { bootFiles }: TargetFacts): Finding[] {
  return bootFiles.flatMap(({ what, path, sha256, problem }) => {
    const subject = `${what} ${path}`;
    const remedy = 'copy it from the source';
    if (problem !== null) {
      return [
        refusal(
          'boot-file',
          subject,
          `can't be read on this node, and QEMU does not start without: ${problem}`,
          remedy,
        ),
      ];
    }
    if (guest[what] === null || guest[what] === sha256) return [];
    const reason = 'is another one than at the source: after a reset the guest would boot it';
    return [warning('boot-file', subject, reason, remedy)];
  });
}
