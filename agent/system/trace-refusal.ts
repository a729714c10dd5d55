import { MigrationError } from '../../shared/errors.js';
import { readStatus } from './process-status.js';

/** Why the kernel has refused (EPERM) that a thread is traced, as an error with code tracking-failed. */
export function traceRefusal(pid: number, tid: number, cause: unknown): MigrationError {
  const { tracer, effectiveUser } = readStatus(`${pid}/task/${tid}`);
  if (tracer !== 0) {
    const { command } = readStatus(tracer);
    return new MigrationError(
      'tracking-failed',
      `process ${pid} is already traced, by process ${tracer} (${command}): end that, then try again`,
      { cause },
    );
  }
  return new MigrationError(
    'tracking-failed',
    `this agent may not trace process ${pid} of user ${effectiveUser}: it needs the capability CAP_SYS_PTRACE (and kernel.yama.ptrace_scope below 3)`,
    { cause },
  );
}
