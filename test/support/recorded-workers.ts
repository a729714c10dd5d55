import type { Worker } from 'node:worker_threads';

/** Workers that are started from here on, for as long as the test lasts; they are announced a turn later. */
export function startedWorkers(t: { teardown(callback: () => void): void }): Worker[] {
  const workers: Worker[] = [];
  const add = (worker: Worker) => workers.push(worker);
  process.on('worker', add);
  t.teardown(() => void process.off('worker', add));
  return workers;
}

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
