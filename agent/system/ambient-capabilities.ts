import { libc } from './libc.js';

const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/**
 * Lets programs that this thread starts from now on begin without the capabilities of an agent that is not root: QEMU executes
 * what a guest makes it, and CAP_SYS_PTRACE would open every process of the host to it. What this process itself may do stays.
 * A kernel without such capabilities has none to pass on.
 */
export function keepCapabilities(): void {
  libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}
