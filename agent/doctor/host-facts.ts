import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { clockIsKept } from '../system/system-calls.js';

/** What a host gives its agent, whatever guests it runs. Null: it can't be told here, or there is no limit. */
export interface HostFacts {
  readonly kernel: string;
  readonly nodejs: string;
  /** Memory of the host, and what programs can still take. bytes */
  readonly totalMemory: number | null;
  readonly availableMemory: number | null;
  /** Most memory of the agent's control group and of those around it, version 2. bytes */
  readonly groupMemory: number | null;
  /** Descriptors that the agent may have open. */
  readonly openFiles: number | null;
  /** Longest file that it may write. bytes */
  readonly fileSize: number | null;
  /** Whether something keeps the host's clock in time. */
  readonly clockKept: boolean | null;
}

export async function gatherHostFacts(): Promise<HostFacts> {
  const [memory, limits, groups] = await Promise.all([
    read('/proc/meminfo'),
    read('/proc/self/limits'),
    read('/proc/self/cgroup'),
  ]);
  return {
    kernel: release(),
    nodejs: process.version,
    totalMemory: memoryField(memory, 'MemTotal'),
    availableMemory: memoryField(memory, 'MemAvailable'),
    groupMemory: await groupMemory(groups),
    openFiles: softLimit(limits, 'Max open files'),
    fileSize: softLimit(limits, 'Max file size'),
    clockKept: clockKept(),
  };
}

/** Where a unit or a container denies that system call nothing can be said. */
function clockKept(): boolean | null {
  try {
    return clockIsKept();
  } catch {
    return null;
  }
}

/** A line of /proc/meminfo. bytes */
function memoryField(text: string, name: string): number | null {
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** A line of /proc/self/limits. */
export function softLimit(text: string, name: string): number | null {
  const soft = new RegExp(`^${name}\\s+(\\d+)\\s`, 'm').exec(text)?.[1];
  return soft === undefined ? null : Number(soft);
}

/** The least limit from the group of /proc/self/cgroup up to the root. */
async function groupMemory(groups: string): Promise<number | null> {
  let limit: number | null = null;
  for (const path of groupsAround(groups)) {
    const text = await read(join('/sys/fs/cgroup', path, 'memory.max'));
    if (/^\d+$/.test(text.trim())) limit = Math.min(limit ?? Infinity, Number(text));
  }
  return limit;
}

/** Paths of the control group of version 2 and of those that it is in. */
export function groupsAround(groups: string): string[] {
  const parts = (/^0::(.*)$/m.exec(groups)?.[1] ?? '/').split('/').filter(Boolean);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

async function read(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}
