import { MigrationError } from '../../../../shared/errors.js';
import { PAGE_SIZE, type Run, RunList, unionRuns } from '../../../../shared/page.js';
import { type ProcessMapping, readMaps } from '../../../system/process-maps.js';
import type { TakeRange } from '../../../system/userfaultfd.js';
import type { TrackedRegion } from './tracked-region.js';

/** Part of a RAM file in the memory of a process, with the region that it belongs to. */
export interface GuestMapping {
  /** First address, and the one after the last. */
  readonly start: number;
  readonly end: number;
  /** Index of the region. */
  readonly region: number;
  /** Page of the region at `start`. */
  readonly firstPage: number;
}

/**
 * Where a process has the regions mapped such that it can write to them, ascending; a region may be mapped in several
 * pieces, and more than once. Mappings of several regions are cut, adjacent ones of one region are joined: the same
 * memory gives the same list, into however many mappings the kernel has cut it.
 */
export function guestMappings(
  mappings: readonly ProcessMapping[],
  regions: readonly TrackedRegion[],
): GuestMapping[] {
  const found: GuestMapping[] = [];
  for (const mapping of mappings) {
    if (!mapping.shared || !mapping.writable) continue;
    for (const [index, { device, inode, fileOffset, memory }] of regions.entries()) {
      if (mapping.inode !== inode || mapping.device !== device) continue;
      const from = Math.max(mapping.offset, fileOffset);
      const to = Math.min(mapping.offset + mapping.end - mapping.start, fileOffset + memory.length);
      if (from >= to) continue;
      const start = mapping.start + from - mapping.offset;
      const piece = {
        start,
        end: start + to - from,
        region: index,
        firstPage: (from - fileOffset) / PAGE_SIZE,
      };
      const last = found.at(-1);
      if (last && follows(last, piece)) found[found.length - 1] = { ...last, end: piece.end };
      else found.push(piece);
    }
  }
  return found;
}

function follows(last: GuestMapping, next: GuestMapping): boolean {
  const pages = (last.end - last.start) / PAGE_SIZE;
  return last.region === next.region && last.end === next.start && last.firstPage + pages === next.firstPage;
}

/** guestMappings of process `pid`. Throws tracking-failed if one of the regions is not there. */
export function readGuestMappings(pid: number, regions: readonly TrackedRegion[]): GuestMapping[] {
  const found = guestMappings(readMaps(pid), regions);
  const missing = regions.find((_, index) => !found.some(({ region }) => region === index));
  if (missing) {
    throw new MigrationError(
      'tracking-failed',
      `process ${pid} does not have RAM file ${missing.inode} mapped, shared and writable: was it started with share=on?`,
    );
  }
  return found;
}

/** Throws tracking-failed unless the process has the regions mapped as they were when tracking began. */
export function refuseNewMappings(
  pid: number,
  regions: readonly TrackedRegion[],
  expected: readonly GuestMapping[],
): void {
  if (JSON.stringify(readGuestMappings(pid, regions)) === JSON.stringify(expected)) return;
  throw new MigrationError(
    'tracking-failed',
    `process ${pid} has mapped guest memory anew since tracking began: writes may have been missed; try again`,
  );
}

/**
 * The memory that `read` tells of each mapping, as runs: ascending, disjoint. Of MAX_RUNS at most for each mapping, as often as
 * `read` begins anew at a lower address.
 */
export function runsIn(
  mappings: readonly GuestMapping[],
  read: (mapping: GuestMapping, take: TakeRange) => void,
): Run[] {
  const runs = mappings.flatMap((mapping) => {
    const { start, region, firstPage } = mapping;
    const lists: RunList[] = [];
    let reached = Infinity;
    read(mapping, (from, to) => {
      // Parts of pages count.
      const first = firstPage + Math.floor((from - start) / PAGE_SIZE);
      const end = firstPage + Math.ceil((to - start) / PAGE_SIZE);
      if (first < reached) lists.push(new RunList());
      lists.at(-1)!.add(region, first, end - first);
      reached = end;
    });
    return lists.flatMap(({ runs }) => runs);
  });
  return unionRuns(runs);
}
