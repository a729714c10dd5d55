import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hasCode } from './system-call-error.js';

/** What /proc tells of other processes. All of it throws ENOENT or ESRCH once the process is gone. */

export interface ProcessStatus {
  readonly command: string;
  readonly parent: number;
  /** R running, S sleeping, D in a sleep that nothing interrupts, T stopped, t stopped by a tracer, Z dead, ... */
  readonly state: string;
  /** The process that traces it; 0: none. */
  readonly tracer: number;
  /** Whether system calls are filtered. */
  readonly seccomp: boolean;
  readonly effectiveUser: number;
  readonly effectiveCapabilities: bigint;
}

/** Bits of ProcessStatus.effectiveCapabilities, from linux/capability.h. */
export const CAPABILITIES = { CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21 } as const;

/** Of a process, or of one thread of it (its path below /proc: `PID` or `PID/task/TID`). */
export function readStatus(process: number | string): ProcessStatus {
  const text = readFileSync(`/proc/${process}/status`, 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(text)?.[1] ?? '';
  return {
    command: field('Name'),
    parent: Number(field('PPid')),
    state: field('State'),
    tracer: Number(field('TracerPid')),
    seccomp: field('Seccomp') !== '' && field('Seccomp') !== '0',
    effectiveUser: Number(/^Uid:\s*\d+\s+(\d+)/m.exec(text)?.[1]),
    effectiveCapabilities: BigInt(`0x${field('CapEff')}`),
  };
}

/** Whether this process may do what that capability covers. */
export function hasCapability(capability: keyof typeof CAPABILITIES): boolean {
  return ((readStatus('self').effectiveCapabilities >> BigInt(CAPABILITIES[capability])) & 1n) === 1n;
}

/** Whether the process, or the thread of a process, exists and is not dead. */
export function isAlive(process: number | string): boolean {
  try {
    return !'ZX'.includes(readStatus(process).state);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}

/** Ids of all threads of a process. */
export function threadsOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number);
}

/** Descriptors of a process that are open on something whose link reads like that. Needs ptrace access to it. */
export function descriptorsOn(pid: number, link: string): number[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory)
    .filter((fd) => {
      try {
        return readlinkSync(`${directory}/${fd}`) === link;
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      }
    })
    .map(Number);
}
