import { readdirSync, readFileSync } from 'node:fs';

/** Between two looks at a process that was killed. ms */
const LOOK_MS = 2;

/** The end of a process with much memory takes a while. ms */
const MAX_WAIT_MS = 10_000;

/** Whether a process of that id runs, or has ended and nobody has asked how. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Ends processes at once and blocks until they hold nothing any more: for the end of this process, when no event comes. */
export function killAndWait(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended meanwhile
    }
  }
  const until = performance.now() + MAX_WAIT_MS;
  while (pids.some(holdsSomething) && performance.now() < until) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
}

/** A child of this process that has ended stays as a zombie; its files are closed when the last of its threads is gone. */
function holdsSomething(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const isZombie = stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
    return !isZombie || readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}
