import type { FuzzTargetKind } from '../target.js';
import { FILE_TARGETS } from './files.js';
import { LIVE_TARGETS } from './live-agent.js';
import { PAGES_TARGET } from './live-pages.js';
import { QMP_TARGET } from './live-qmp.js';
import { PURE_TARGETS } from './pure.js';
import { STOPPED_COMMITS } from './stopped-commits.js';

export const FUZZ_TARGETS: readonly FuzzTargetKind[] = [
  ...PURE_TARGETS,
  ...FILE_TARGETS,
  STOPPED_COMMITS,
  ...LIVE_TARGETS,
  PAGES_TARGET,
  QMP_TARGET,
];
