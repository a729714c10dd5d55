#!/usr/bin/env -S node --single-threaded-gc
import { runCommandLine } from './cli/command-line.js';

/** The command `vmferry`: this process, its streams and its exit code around scripts/cli/. */

/** As of a program that SIGPIPE has ended: whoever reads us may stop reading ('vmferry vm list | head') before all is done. */
const READER_GONE = 128 + 13;

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? READER_GONE);
  process.stderr.write(`vmferry: standard output can't be written: ${error.message}\n`);
  process.exit(process.exitCode || 1);
});
// What went wrong tells the exit code as well.
process.stderr.on('error', () => undefined);

process.exitCode = await runCommandLine(process.argv.slice(2), {
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
// not left to end by itself: Node.js 20 may spin for ever in Environment::CleanupHandles() over sockets that were reset
process.exit();
