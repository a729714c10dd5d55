import type { ConvergenceOptions } from '../../agent/source/convergence.js';

/** What the convergence of a migration goes by, in tests of it and of its simulation. */
export const CONVERGENCE: ConvergenceOptions = {
  maxDowntimeMs: 30,
  maxRounds: 100,
  maxTotalMs: 600_000,
  stallRounds: 5,
  onLimit: 'switch-over',
};
