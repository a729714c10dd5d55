import { injectSystemCalls } from '../../agent/system/inject-system-call.js';
import { libc } from '../../agent/system/libc.js';

/**
 * Makes two system calls in the process of its first argument, and kills itself after as many requests of ptrace as its second
 * says. Tells how many there are if it says none.
 */
const [pid, last] = process.argv.slice(2).map(Number);
const SYS_GETPID = 39;

let requests = 0;
const counted =
  <P extends unknown[]>(request: (...parameters: P) => number) =>
  (...parameters: P): number => {
    const result = request(...parameters);
    requests += 1;
    if (requests === last) process.kill(process.pid, 'SIGKILL');
    return result;
  };
const library = libc();
library.ptrace = counted(library.ptrace.bind(library));
library.ptraceData = counted(library.ptraceData.bind(library));

injectSystemCalls(
  pid!,
  (call) => {
    for (let i = 0; i < 2; i += 1)
      if (call(SYS_GETPID) !== pid) throw new Error('getpid told another process');
  },
  'pass',
);
process.send!(requests, () => process.disconnect());
