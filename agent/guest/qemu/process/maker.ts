import { randomBytes } from 'node:crypto';
import { identifyProcess } from './process-identity.js';

/** What is in the name of a thing that must not outlive its process: the process, when that was started, and what makes it unique. */
const MAKER = String.raw`(\d+)\.(\d+)\.[0-9a-f]{8}`;

/** That of a thing that this process makes. */
export function makerName(): string {
  const { startTime = '0' } = identifyProcess(process.pid) ?? {};
  return `${process.pid}.${startTime}.${randomBytes(4).toString('hex')}`;
}

/** Whether `name` has one of those prefixes, then a maker and `end` (of a regular expression), and that process is no more. */
export function isOfDeadMaker(name: string, prefixes: readonly string[], end = ''): boolean {
  if (!prefixes.some((prefix) => name.startsWith(prefix))) return false;
  const [, pid, startTime] = new RegExp(`-${MAKER}${end}$`).exec(name) ?? [];
  return pid !== undefined && identifyProcess(Number(pid))?.startTime !== startTime;
}
