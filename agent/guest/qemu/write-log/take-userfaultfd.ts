import { closeSync, readFileSync } from 'node:fs';
import { descriptorsOn } from '../../../system/process-status.js';
import { SystemCallError } from '../../../system/system-call-error.js';
import { pidfdGetfd, pidfdOpen } from '../../../system/system-calls.js';
import { SYS_USERFAULTFD, USERFAULTFD_FLAGS, USERFAULTFD_LINK } from '../../../system/userfaultfd.js';
import { callInQemu } from './call-in-qemu.js';

/** `close` on x86-64, where alone system calls are injected. */
export const SYS_CLOSE = 3;

/**
 * A userfaultfd made in the process, as a descriptor of this one. That process's own is closed while it is still stopped: the
 * protection would outlive this agent otherwise, and nobody else could track it. Throws as callInQemu() does, and
 * SystemCallError; nothing is held then.
 */
export function takeUserfaultfd(pid: number, callIn = callInQemu): number {
  const pidfd = pidfdOpen(pid);
  const taken: number[] = [];
  try {
    callIn(pid, (call) => {
      const foreign = call(SYS_USERFAULTFD, USERFAULTFD_FLAGS);
      if (foreign < 0) throw new SystemCallError('userfaultfd', -foreign);
      try {
        taken.push(pidfdGetfd(pidfd, foreign));
      } finally {
        call(SYS_CLOSE, foreign);
      }
    });
    return taken.pop()!;
  } finally {
    // A process that is killed meanwhile makes no more calls: what was taken from it is of no use.
    taken.forEach((own) => closeSync(own));
    closeSync(pidfd);
  }
}

/**
 * Closes in the process what an agent has left there that was killed within takeUserfaultfd(): userfaultfds that nobody has
 * taken into use. For kernels with which there is a UserfaultfdLog: older ones don't mark those in use. Returns how many were
 * closed. Throws as callInQemu() does.
 */
export function closeUnusedUserfaultfds(pid: number): number {
  const unused = descriptorsOn(pid, USERFAULTFD_LINK).filter((fd) => !isInUse(pid, fd));
  if (unused.length === 0) return 0;
  return callInQemu(pid, (call) => unused.filter((fd) => call(SYS_CLOSE, fd) === 0).length);
}

/** Whether UFFDIO_API was called for it: the kernel tells the features that were agreed on then, which are never none. */
function isInUse(pid: number, fd: number): boolean {
  return !/^API:\t[0-9a-f]+:0:/m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'));
}
