import { formatBytes } from '../../../../shared/units.js';
import { type Finding, note, refusal, warning } from './findings.js';
import type { GuestFacts, MemoryFacts, NamedType } from './guest-facts.js';
import { missingCapabilities } from './migration-capabilities.js';

/** How writes of the guest would be followed. */
export interface WriteLogFacts {
  readonly kind: 'userfaultfd' | 'soft-dirty' | 'hash';
  readonly reason: string;
}

type SourceRule = (guest: GuestFacts, writeLog: WriteLogFacts) => Finding[];

/** What speaks for or against moving that guest away, as its own host sees it. */
export function checkSource(guest: GuestFacts, writeLog: WriteLogFacts): Finding[] {
  return SOURCE_RULES.flatMap((rule) => rule(guest, writeLog));
}

const SOURCE_RULES: readonly SourceRule[] = [
  capabilities,
  sharedMemory,
  definedMemory,
  trackedWrites,
  directIo,
  devicesOfOthers,
  foreignMappings,
  kernelDevices,
  balloon,
  blocked,
];

function capabilities({ migrationCapabilities }: GuestFacts): Finding[] {
  return missingCapabilities("the guest's QEMU", migrationCapabilities);
}

function sharedMemory({ memory }: GuestFacts): Finding[] {
  return memory
    .filter((object) => !isShared(object))
    .map(({ id, bytes, file }) =>
      refusal(
        'memory-not-shared',
        `memory object ${id} (${formatBytes(bytes)})`,
        file === null
          ? 'is in no file, so that its pages can be neither followed nor copied'
          : `is in ${file} with share=off, so that its pages are private to QEMU`,
        'start the guest anew, by the agent or with -object memory-backend-file,share=on',
      ),
    );
}

function isShared({ shared, file }: MemoryFacts): boolean {
  return shared && file !== null;
}

/** QEMU leaves all shared memory out of its stream: what the agent does not copy is lost. */
function definedMemory({ definition, memory }: GuestFacts): Finding[] {
  const sizes = definition.memoryObjects?.map(({ size }) => size) ?? [definition.memory];
  return memory
    .filter(isShared)
    .filter(({ id, bytes }) => !sizes.some((size, index) => id === `ram${index}` && size === bytes))
    .map(({ id, bytes }) =>
      refusal(
        'memory-extra',
        `memory object ${id} (${formatBytes(bytes)})`,
        'is not part of the definition, so that nobody would copy it',
        'define it as one of memoryObjects, or remove it (DIMMs, NVDIMMs, virtio-mem and virtio-pmem are not supported)',
      ),
    );
}

function trackedWrites(_guest: GuestFacts, { kind, reason }: WriteLogFacts): Finding[] {
  const subject = `write-log ${kind}`;
  if (kind !== 'hash') return [note('write-log', subject, reason)];
  return [warning('write-log', subject, reason, 'Linux 6.7 or newer, and an agent that runs as root')];
}

/**
 * With O_DIRECT the kernel pins guest pages when a read begins and the device fills them later: a harvest in between
 * has protected them again, and the device's write is not seen. Comparing hashes sees it: QEMU ends such reads before the guest
 * stands still.
 */
function directIo({ blockNodes }: GuestFacts, { kind }: WriteLogFacts): Finding[] {
  const files = [...new Set(blockNodes.filter(({ direct }) => direct).map(({ file }) => file))];
  return files.map((file) =>
    kind === 'hash'
      ? note('direct-io', `disk ${file}`, 'is read with cache.direct=on, which the write-log hash can follow')
      : refusal(
          'direct-io',
          `disk ${file}`,
          `is read with cache.direct=on, straight into guest memory, which the write-log ${kind} can't see`,
          "use the cache mode 'writeback', or set qemu.writeLog to 'hash' in the agent's configuration",
        ),
  );
}

const FOREIGN_DEVICES: readonly { code: 'vfio' | 'vhost-user' | 'ivshmem'; type: RegExp; reason: string }[] =
  [
    {
      code: 'vfio',
      type: /^vfio-|^igd-|^x-vfio/,
      reason:
        'is a device of the host: what it writes to guest memory is not seen, and its state stays there',
    },
    {
      code: 'vhost-user',
      type: /^vhost-user/,
      reason: 'is served by another process: what it writes to guest memory is not seen',
    },
    { code: 'ivshmem', type: /^ivshmem/, reason: 'shares memory with other machines, which stay there' },
  ];

function devicesOfOthers({ devices, netdevs, openDevices }: GuestFacts): Finding[] {
  const opened = openDevices
    .filter((path) => path.startsWith('/dev/vfio/'))
    .map((name) => ({ name, type: 'vfio-file' }));
  return [...devices, ...netdevs, ...opened].flatMap((device) => deviceOfOthers(device));
}

function deviceOfOthers({ name, type }: NamedType): Finding[] {
  return FOREIGN_DEVICES.filter((kind) => kind.type.test(type)).map(({ code, reason }) =>
    refusal(
      code,
      `device ${name} (${type})`,
      reason,
      'unplug it before the migration, or use a device of QEMU itself',
    ),
  );
}

function foreignMappings({ foreignMappings }: GuestFacts, { kind }: WriteLogFacts): Finding[] {
  return foreignMappings.map(({ pid, command }) => {
    const subject = `process ${pid} (${command})`;
    const remedy = 'end it, if it writes to the guest; if it is a vhost-user back end, unplug its device';
    return kind === 'hash'
      ? warning(
          'foreign-mapping',
          subject,
          "has the guest's memory mapped; nothing stops it with the guest",
          remedy,
        )
      : refusal(
          'foreign-mapping',
          subject,
          `has the guest's memory mapped: the write-log ${kind} can't see what it writes`,
          remedy,
        );
  });
}

/**
 * A vhost worker of the kernel runs in QEMU's own address space (kthread_use_mm, or a thread of QEMU since Linux 6.4) and writes by
 * copy_to_user: its writes fault as QEMU's do, and QEMU stops it with the guest.
 */
function kernelDevices({ openDevices }: GuestFacts): Finding[] {
  return openDevices
    .filter((path) => path.startsWith('/dev/vhost-'))
    .map((path) =>
      note('vhost-kernel', path, "writes through QEMU's own page tables, which every write-log follows"),
    );
}

/**
 * Pages that are given back become holes of the file (fallocate, FALLOC_FL_PUNCH_HOLE), of which the kernel's logs tell
 * nothing: write-log/vanished-pages.ts looks for them. One that is read again before it has looked escapes it.
 */
function balloon({ devices }: GuestFacts, { kind }: WriteLogFacts): Finding[] {
  const balloons = devices.filter(({ type }) => type.startsWith('virtio-balloon'));
  const reason =
    kind === 'hash'
      ? 'what the guest gives back is followed by the write-log hash'
      : 'what the guest gives back is looked for in each harvest; what it reads again at once keeps its former content on the target, which a verification reports';
  return balloons.map(({ name }) => note('balloon', `device ${name}`, reason));
}

function blocked({ blockedReasons }: GuestFacts): Finding[] {
  return blockedReasons.map((reason) =>
    refusal(
      'migration-blocked',
      'QEMU',
      `does not migrate the guest: ${reason}`,
      'remove what it names, and try again',
    ),
  );
}
