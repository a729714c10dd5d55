import type { FuzzTargetKind } from '../target.js';
import { FILE_TARGETS } from './files.js';
import { LIVE_TARGETS } from './live-agent.js';
import { PURE_TARGETS } from './pure.js';

export const FUZZ_TARGETS: readonly FuzzTargetKind[] = [...PURE_TARGETS, ...FILE_TARGETS, ...LIVE_TARGETS];
