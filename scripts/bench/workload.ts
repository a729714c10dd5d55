import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes, formatRate, parseBytes, parseRate } from '../../shared/units.js';
import { parsed } from '../cli/units-option.js';
import type { Load } from '../lab/guests/linux/linux-guest.js';

/** What a guest does while it is moved, and what its memory is filled with: see scripts/lab/guests/linux/workload.c. */
export interface Workload {
  readonly activity: Load['activity'];
  readonly content: Load['content'];
  /** What it rewrites; 0 for other activities. */
  readonly hotBytes: number;
  /** Most that it writes in a second; 0: as fast as it can. */
  readonly bytesPerSecond: number;
}

export const WORKLOAD_SYNTAX =
  'idle, rewrite:8MiB, rewrite:64MiB@16MB, xor or read, each with +compressible or +zero-rich if not incompressible';

const FORM =
  /^(?:(?<plain>idle|xor|read)|rewrite:(?<hot>[\w.]+)(?:@(?<rate>[\w./]+))?)(?:\+(?<content>incompressible|compressible|zero-rich))?$/;

/** Throws invalid-request. */
export function parseWorkload(text: string): Workload {
  const groups = FORM.exec(text.trim())?.groups;
  if (!groups) {
    throw new MigrationError(
      'invalid-request',
      `the workload '${text}' is not understood: write it like ${WORKLOAD_SYNTAX}`,
    );
  }
  const what = `the workload '${text}'`;
  const hotBytes = groups['hot'] === undefined ? 0 : parsed(what, groups['hot'], parseBytes);
  if (groups['hot'] !== undefined && (hotBytes === 0 || hotBytes % 2 ** 20 !== 0)) {
    throw new MigrationError('invalid-request', `${what} must rewrite whole MiB`);
  }
  return {
    activity: (groups['plain'] ?? 'rewrite') as Workload['activity'],
    content: (groups['content'] ?? 'incompressible') as Workload['content'],
    hotBytes,
    bytesPerSecond: groups['rate'] === undefined ? 0 : parsed(what, groups['rate'], parseRate),
  };
}

/** 'rewrite 8 MiB', 'idle, zero-rich' */
export function workloadLabel({ activity, content, hotBytes, bytesPerSecond }: Workload): string {
  const words = {
    idle: 'idle',
    rewrite: `rewrite ${formatBytes(hotBytes)}`,
    xor: 'random xor',
    read: 'read-mostly',
  }[activity];
  const rate = bytesPerSecond === 0 ? '' : ` at ${formatRate(bytesPerSecond)}`;
  return `${words}${rate}${content === 'incompressible' ? '' : `, ${content}`}`;
}

/** The same for the Linux guest, which fills `fillBytes` with it. */
export function linuxLoad(workload: Workload, fillBytes: number): Load {
  const { activity, content, hotBytes, bytesPerSecond } = workload;
  return {
    activity,
    content,
    mib: Math.floor(fillBytes / 2 ** 20),
    hotMiB: hotBytes / 2 ** 20,
    pagesPerSecond: Math.round(bytesPerSecond / PAGE_SIZE),
  };
}

/** The same for the embedded machine: which of its programs, with which parameters. Throws invalid-request. */
export function embeddedProgram(workload: Workload, fillBytes: number) {
  const { activity, content, hotBytes, bytesPerSecond } = workload;
  if (activity === 'read' || content !== 'incompressible') {
    throw new MigrationError(
      'invalid-request',
      `the embedded machine has no program for the workload '${workloadLabel(workload)}': use --guest qemu`,
    );
  }
  if (activity === 'idle') return { program: 'idle', parameters: {} } as const;
  if (bytesPerSecond > 0) {
    const pagesPerSecond = Math.round(bytesPerSecond / PAGE_SIZE);
    return {
      program: 'dirty',
      parameters: { workingSetPages: hotBytes / PAGE_SIZE, pagesPerSecond },
    } as const;
  }
  const parameters = {
    steps: 0xffff_fff8,
    workingSetPages: Math.floor(fillBytes / PAGE_SIZE),
    hotPages: hotBytes / PAGE_SIZE,
  };
  return { program: 'checksum', parameters } as const;
}
