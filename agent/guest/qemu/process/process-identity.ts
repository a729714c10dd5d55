import { readFileSync } from 'node:fs';
import { z } from 'zod';

export const ProcessIdentitySchema = z.strictObject({
  pid: z.number().int().positive(),
  /** Clock ticks from the host's boot to the start of the process, as /proc/PID/stat tells them. */
  startTime: z.string().regex(/^\d{1,20}$/),
  /** The boot of the host in which it runs. */
  bootId: z.string().max(64),
});

/** One process and no other: a pid alone may belong to another one later. */
export type ProcessIdentity = z.output<typeof ProcessIdentitySchema>;

/** Who `pid` is now; null if there is no such process, or one that is dead and just not waited for yet. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  const fields = statFields(pid);
  if (!fields) return null;
  const [state, startTime] = [fields[0], fields[19]];
  if (state === undefined || startTime === undefined || 'ZXx'.includes(state)) return null;
  return { pid, startTime, bootId: bootId() };
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identifyProcess(identity.pid);
  return now !== null && isSameProcess(now, identity);
}

export function isSameProcess(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return one.pid === other.pid && one.startTime === other.startTime && one.bootId === other.bootId;
}

/** The fields of /proc/PID/stat from the third (state) on; the second, in parentheses, may hold anything. See proc(5). */
function statFields(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text
      .slice(text.lastIndexOf(')') + 1)
      .trim()
      .split(' ');
  } catch {
    return null;
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
