import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hasCode } from './system-call-error.js';

/** What /proc tells of other processes. */

export interface ProcessStatus {
  readonly command: string;
  readonly parent: number;
  /** The process that traces it; 0: none. */
  readonly tracer: number;
  /** Whether system calls are filtered. */
  readonly seccomp: boolean;
  /** How many filters of system calls apply; 0 where the kernel doesn't tell (before Linux 5.9). */
  readonly filters: number;
  readonly effectiveUser: number;
  readonly effectiveCapabilities: bigint;
}

/** Bits of ProcessStatus.effectiveCapabilities, from linux/capability.h. */
const CAPABILITIES = { CAP_SYS_PTRACE: 19 } as const;

/** Of a process, or of one thread of it (its path below /proc: `PID` or `PID/task/TID`). Throws ENOENT, ESRCH if it is gone. */
export function readStatus(process: number | string): ProcessStatus {
  const text = readFileSync(`/proc/${process}/status`, 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(text)?.[1] ?? '';
  return {
    command: field('Name'),
    parent: Number(field('PPid')),
    tracer: Number(field('TracerPid')),
    seccomp: field('Seccomp') !== '' && field('Seccomp') !== '0',
    filters: Number(field('Seccomp_filters')),
    effectiveUser: Number(/^Uid:\s*\d+\s+(\d+)/m.exec(text)?.[1]),
    effectiveCapabilities: BigInt(`0x${field('CapEff')}`),
  };
}

/** The program and the arguments that a process was started with; none if it is gone. */
export function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
}

/** Whether this process may do what that capability covers. */
export function hasCapability(capability: keyof typeof CAPABILITIES): boolean {
  return ((readStatus('self').effectiveCapabilities >> BigInt(CAPABILITIES[capability])) & 1n) === 1n;
}

/** Whether a process, or a thread of one, exists and is not dead. */
export function isAlive(pid: number, tid = pid): boolean {
  return !'ZX'.includes(readThread(pid, tid).state);
}

// From linux/sched.h: threads that the kernel has added to the process for its own work.
const PF_IO_WORKER = 0x10;
const PF_USER_WORKER = 0x4000;

/**
 * State of a thread (R running, S sleeping, D in a sleep that nothing interrupts, T stopped, t stopped by a tracer, Z dead),
 * 'X' if there is none, and whether it never executes code of the program.
 */
export function readThread(pid: number, tid: number): { state: string; kernelWorker: boolean } {
  try {
    const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8');
    // The second field is a name in brackets that can hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const flags = Number(fields[6]);
    return { state: fields[0] ?? 'X', kernelWorker: (flags & (PF_IO_WORKER | PF_USER_WORKER)) !== 0 };
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return { state: 'X', kernelWorker: false };
    throw error;
  }
}

/** Ids of all threads of a process; none if it has ended. */
export function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
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
