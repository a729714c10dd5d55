import type { ProcessFigures } from '../shared/api.js';

/** What this process takes, all its threads together. */
export function processFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1000, residentBytes: process.memoryUsage.rss() };
}
