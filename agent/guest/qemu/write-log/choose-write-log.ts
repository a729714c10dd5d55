import { closeSync, openSync } from 'node:fs';
import { MigrationError } from '../../../../shared/errors.js';
import { withProcessStopped } from '../../../system/stop-process.js';
import type { WriteLog } from '../../guest.js';
import { callInQemu } from './call-in-qemu.js';
import { readGuestMappings } from './guest-mappings.js';
import { HashLog } from './hash-log.js';
import { probeKernel } from './probe-kernel.js';
import { SoftDirtyLog } from './soft-dirty-log.js';
import type { TrackedRegion } from './tracked-region.js';
import { UserfaultfdLog } from './userfaultfd-log.js';

export type WriteLogKind = 'userfaultfd' | 'soft-dirty' | 'hash';

/** Best first. */
const KINDS = ['userfaultfd', 'soft-dirty', 'hash'] as const;

/** `getpid` on x86-64. */
const SYS_GETPID = 39;

/**
 * How the writes of a QEMU process are to be followed: the best way that works there, or the one asked for. What is not
 * chosen, and why, is in its reason. `givesBack`: whether the guest can be giving memory back at this moment. Throws
 * tracking-failed if the one asked for doesn't work.
 */
export function chooseWriteLog({
  pid,
  regions,
  choice,
  givesBack = () => true,
}: {
  pid: number;
  regions: readonly TrackedRegion[];
  choice: 'auto' | WriteLogKind;
  givesBack?: () => boolean;
}): Promise<WriteLog> {
  const reasons: string[] = [];
  for (const kind of choice === 'auto' ? KINDS : [choice]) {
    const obstacle = obstacleTo(kind, pid, regions);
    if (obstacle === null) {
      const asked = choice === 'auto' ? WHY[kind] : 'as configured';
      return Promise.resolve(create(kind, pid, regions, [asked, ...reasons].join('; '), givesBack));
    }
    reasons.push(`${kind}: ${obstacle}`);
  }
  return Promise.reject(
    new MigrationError(
      'tracking-failed',
      `the writes of process ${pid} can't be followed by ${reasons.join('; ')}: configure another write-log, or auto`,
    ),
  );
}

const WHY: Record<WriteLogKind, string> = {
  userfaultfd: 'the kernel tells written pages, page by page',
  'soft-dirty':
    'the kernel marks written pages, and the guest is stopped for some milliseconds while that is read',
  hash: 'works everywhere, but reads all memory in each round and while the guest is paused',
};

function create(
  kind: WriteLogKind,
  pid: number,
  regions: readonly TrackedRegion[],
  reason: string,
  givesBack: () => boolean,
): WriteLog {
  switch (kind) {
    case 'userfaultfd':
      return new UserfaultfdLog(pid, regions, reason, givesBack);
    case 'soft-dirty':
      return new SoftDirtyLog(pid, regions, reason, givesBack);
    case 'hash':
      return new HashLog(regions, reason);
  }
}

/** Why that one does not work for that process, found by trial; null if it does. */
function obstacleTo(kind: WriteLogKind, pid: number, regions: readonly TrackedRegion[]): string | null {
  if (kind === 'hash') return null;
  const { userfaultfd, softDirty } = probeKernel();
  const kernel = kind === 'userfaultfd' ? userfaultfd : softDirty;
  if (!kernel.usable) return kernel.reason;
  try {
    readGuestMappings(pid, regions);
    closeSync(openSync(`/proc/${pid}/pagemap`, 'r'));
    if (kind === 'userfaultfd') callInQemu(pid, (call) => call(SYS_GETPID));
    else withProcessStopped(pid, () => undefined);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
