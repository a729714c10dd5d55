#!/usr/bin/env -S node --single-threaded-gc
import { runCommandLine } from './cli/command-line.js';

/** The command `vmferry`: this process, its streams and its exit code around scripts/cli/. */

// whoever reads us may stop reading ('vmferry vm list | head'): nothing more is to be said then
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

const exitCode = await runCommandLine(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  onInterrupt: (listener) => {
    process.on('SIGINT', listener);
    process.on('SIGTERM', listener);
    return () => {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    };
  },
});

for (const stream of [process.stdout, process.stderr]) {
  await new Promise((resolve) => stream.write('', resolve));
}
// not by process.exitCode: Node.js 20 may spin for ever in Environment::CleanupHandles() over sockets that were reset
process.exit(exitCode);
