import { createRequire, syncBuiltinESMExports } from 'node:module';
import type * as WorkerThreads from 'node:worker_threads';

/**
 * Loaded into each test file before all else (.taprc). tap has every process and every thread that a test starts load its own hooks
 * for modules, which takes a fifth of a second of processor each; agents are many, and have threads. Nothing here needs
 * them: coverage is V8's.
 */

const HOOKS = /\s*"?--import=\S*@tapjs\/[^\s"]*"?/g;

const options = process.env['NODE_OPTIONS']?.replace(HOOKS, '').trim();
if (options) process.env['NODE_OPTIONS'] = options;
else delete process.env['NODE_OPTIONS'];

// By which tap puts them back.
const onSpawn = Symbol.for('process-on-spawn@*:singletonId');
(globalThis as { [onSpawn]?: { unwrap(): void } })[onSpawn]?.unwrap();

// The CommonJS view of a built-in module is the one that can be changed.
const threads = createRequire(import.meta.url)('node:worker_threads') as {
  Worker: typeof WorkerThreads.Worker;
};
threads.Worker = class extends threads.Worker {
  constructor(file: string | URL, given?: WorkerThreads.WorkerOptions) {
    super(file, { execArgv: [], ...given });
  }
};
syncBuiltinESMExports();
