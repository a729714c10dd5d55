import { MigrationError } from '../../shared/errors.js';
import { type GuestDefinition, GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { formatBytes } from '../../shared/units.js';
import { linuxBoot } from '../lab/guests/linux/linux-guest.js';
import { embeddedProgram, linuxLoad, type Workload, workloadLabel } from './workload.js';

/** A guest to be moved. */
export interface BenchGuest {
  readonly kind: 'qemu' | 'embedded';
  readonly memoryBytes: number;
  /** About what of it is in use; the moves tell exactly. */
  readonly populatedBytes: number;
  readonly workload: Workload;
}

/** What the Linux guest has in use without a workload: kernel, first file system; and its tables, as a part of its memory. */
const LINUX_BYTES = 66 * 2 ** 20;
const LINUX_SHARE = 0.02;

/** Below the embedded machine's working set. bytes */
const EMBEDDED_PROGRAM_BYTES = 2 ** 20;

/** Printed by a guest once its memory is filled. */
const READY = /^(?:workload: ready|filled|dirty|idle)\r?$/m;

/** Printed by one that can't be used: its workload found too little memory, or its kernel gave up. */
const BROKEN = /FAILED: .*|Kernel panic.*|Out of memory.*/;

/** Whether its memory is filled, by what it has printed. Throws if it never will be. */
export function isReady(printed: string): boolean {
  const broken = BROKEN.exec(printed)?.[0];
  if (broken !== undefined) throw new Error(`the guest can't do its work: it printed '${broken.trim()}'`);
  return READY.test(printed);
}

/** 'qemu 1.0 GiB' */
export function guestLabel({ kind, memoryBytes }: Pick<BenchGuest, 'kind' | 'memoryBytes'>): string {
  return `${kind} ${formatBytes(memoryBytes)}`;
}

/** Whether it reports its work on its console. */
export function reportsWork({ kind, workload }: BenchGuest): boolean {
  return kind === 'qemu' && workload.activity !== 'idle';
}

/** Its definition. `initrd`: the Linux guest's first file system; `accel`: of QEMU. Throws invalid-request. */
export function definitionOf(
  guest: BenchGuest,
  name: string,
  { initrd, accel }: { initrd: string; accel: string },
): GuestDefinition {
  const { kind, memoryBytes, workload } = guest;
  const fill = fillOf(guest);
  return GuestDefinitionSchema.parse({
    name,
    kind,
    memory: memoryBytes,
    ...(kind === 'qemu'
      ? { accel, boot: linuxBoot(initrd, { load: linuxLoad(workload, fill) }) }
      : embeddedProgram(workload, fill)),
  });
}

/** The guest, if there can be such a one. Throws invalid-request. */
export function possible(guest: BenchGuest): BenchGuest {
  const fill = fillOf(guest);
  if (guest.kind === 'embedded') embeddedProgram(guest.workload, fill);
  return guest;
}

/** What its workload fills, beside what the guest itself takes. bytes; throws invalid-request where that is too little. */
export function fillOf(guest: BenchGuest): number {
  const { kind, memoryBytes, populatedBytes } = guest;
  const fill =
    kind === 'qemu'
      ? populatedBytes - LINUX_BYTES - LINUX_SHARE * memoryBytes
      : Math.min(populatedBytes, memoryBytes - EMBEDDED_PROGRAM_BYTES);
  checkHot(guest, fill);
  return fill;
}

function checkHot({ kind, memoryBytes, populatedBytes, workload }: BenchGuest, fill: number): void {
  if (populatedBytes <= memoryBytes && fill >= 2 ** 20 && workload.hotBytes <= fill) return;
  throw new MigrationError(
    'invalid-request',
    `a guest (${kind}) of ${formatBytes(memoryBytes)} with ${formatBytes(populatedBytes)} populated has no room for the workload ` +
      `'${workloadLabel(workload)}': ${formatBytes(Math.max(0, fill))} are left to it; change --memory or --populated`,
  );
}
