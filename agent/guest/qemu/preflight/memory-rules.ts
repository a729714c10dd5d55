import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { formatBytes } from '../../../../shared/units.js';
import { type Finding, refusal, warning } from './findings.js';
import type { TargetFacts } from './target-facts.js';
import type { GuestTraits } from './traits.js';

/** Whether there is room for the guest's memory here, all of it: it may come to use what it does not use now. */
export function memoryRules(definition: QemuDefinition, guest: GuestTraits, facts: TargetFacts): Finding[] {
  const objects: { size: number; hugepages?: number | undefined }[] = definition.memoryObjects ?? [
    { size: definition.memory },
  ];
  const small = objects.filter(({ hugepages }) => hugepages === undefined);
  const smallBytes = small.reduce((sum, { size }) => sum + size, 0);
  const sizes = new Set(objects.flatMap(({ hugepages }) => hugepages ?? []));
  return [
    ...(smallBytes > 0 ? smallPageRules(smallBytes, facts) : []),
    ...[...sizes].flatMap((pageBytes) => {
      const own = objects.filter(({ hugepages }) => hugepages === pageBytes);
      const bytes = own.reduce((sum, { size }) => sum + size, 0);
      return hugepageRules(pageBytes, bytes, facts);
    }),
    ...(guest.pageBytes > PAGE_SIZE && sizes.size === 0 ? [smallerPages(guest.pageBytes)] : []),
  ];
}

function smallPageRules(bytes: number, facts: TargetFacts): Finding[] {
  const { memoryDirectory, memoryFileSystem: system, availableMemory } = facts;
  const wanted = formatBytes(bytes);
  if (!system) {
    const remedy = 'make it, or name a tmpfs in qemu.memoryDirectory';
    return [refusal('memory-directory', memoryDirectory, 'is not there, or may not be read', remedy)];
  }
  if (system.freeBytes < bytes) {
    const reason = `has ${formatBytes(system.freeBytes)} free, and the guest's memory has ${wanted}`;
    return [
      refusal('target-out-of-memory', memoryDirectory, reason, 'free some, or remount it with a larger size'),
    ];
  }
  if (system.type !== 'tmpfs' && system.type !== 'hugetlbfs') {
    const reason = `is on ${system.type}: the guest's memory would be written to a disk`;
    return [warning('memory-directory', memoryDirectory, reason, 'name a tmpfs in qemu.memoryDirectory')];
  }
  if (availableMemory >= bytes) return [];
  const reason = `has ${formatBytes(availableMemory)} available, and the guest's memory has ${wanted}`;
  return [
    refusal('target-out-of-memory', 'the memory of this node', reason, 'stop or move other guests first'),
  ];
}

function hugepageRules(pageBytes: number, bytes: number, { hugepages }: TargetFacts): Finding[] {
  const size = formatBytes(pageBytes);
  const subject = `huge pages of ${size}`;
  const pool = hugepages.find((candidate) => candidate.pageBytes === pageBytes);
  const pages = Math.ceil(bytes / pageBytes);
  if (!pool) {
    const remedy = 'define the VM with another size, or with none';
    return [refusal('hugepages', subject, "are none that this node's processor and kernel have", remedy)];
  }
  const freePages = Math.max(0, pool.freePages);
  if (freePages < pages) {
    const file = `/sys/kernel/mm/hugepages/hugepages-${pageBytes / 1024}kB/nr_hugepages`;
    const reason = `${freePages} are free, and the guest's memory takes ${pages}`;
    return [
      refusal('target-out-of-memory', subject, reason, `add ${pages - freePages} to the number in ${file}`),
    ];
  }
  if (pool.mounted) return [];
  const remedy = `mount -t hugetlbfs -o pagesize=${pageBytes / 2 ** 20}M none /dev/hugepages`;
  return [refusal('hugepages', subject, 'have no file system mounted on this node', remedy)];
}

function smallerPages(pageBytes: number): Finding {
  const reason = `the guest has huge pages of ${formatBytes(pageBytes)}, which its definition does not ask for here`;
  return warning('hugepages', 'memory', reason, 'define the VM with memoryObjects that have hugepages');
}
