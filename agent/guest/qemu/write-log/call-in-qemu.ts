import { type InjectedCall, injectSystemCalls } from '../../../system/inject-system-call.js';
import { commandLine, readStatus } from '../../../system/process-status.js';

/**
 * Makes system calls in a QEMU: injectSystemCalls(). Filters that are QEMU's own (`-sandbox`) let getpid, userfaultfd and close
 * pass (denylist[] in its softmmu/qemu-seccomp.c), so that nothing is suspended for these and no CAP_SYS_ADMIN is needed.
 */
export function callInQemu<T>(pid: number, use: (call: InjectedCall) => T): T {
  return injectSystemCalls(pid, use, hasOwnFiltersAlone(pid) ? 'pass' : 'suspended');
}

/** One for each `-sandbox on`; any other was there before QEMU was, and may end the process for such a call. */
function hasOwnFiltersAlone(pid: number): boolean {
  const parameters = commandLine(pid);
  const own = parameters.filter(
    (text, index) => /^--?sandbox$/.test(text) && /^(enable=)?on(,|$)/.test(parameters[index + 1] ?? ''),
  );
  return own.length > 0 && readStatus(pid).filters === own.length;
}
