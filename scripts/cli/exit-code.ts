import { EXIT, type MigrationResult, type PreflightReport } from '../../shared/api.js';
import type { ErrorBody, ErrorCode } from '../../shared/errors.js';

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What the codes mean, in a few words. */
export const EXIT_MEANINGS: readonly { readonly code: ExitCode; readonly text: string }[] = [
  { code: EXIT.done, text: 'done' },
  {
    code: EXIT.failed,
    text: 'failed: a VM that was to move is where it was, unless --verify after has found that its memory differs',
  },
  { code: EXIT.usage, text: 'the command line, or a file that it names, is wrong' },
  {
    code: EXIT.refused,
    text: 'refused, and nothing has changed: a check before the move has failed, or there is no VM, node or migration of that name',
  },
  { code: EXIT.cancelled, text: 'the migration was cancelled' },
  { code: EXIT.unknown, text: 'the outcome is unknown: look with status, then see vm resolve' },
];

/** Codes that say that what was asked for cannot be right, whatever the state of the cluster. */
const USAGE = new Set<ErrorCode>(['invalid-request', 'invalid-definition', 'invalid-image']);

/** Codes with which preflight, here or on the target, refuses a migration: nothing was touched, the VM runs on. */
const REFUSALS = new Set<ErrorCode>([
  'unknown-node',
  'same-node',
  'node-drained',
  'target-has-guest',
  'target-out-of-memory',
  'unsupported-guest',
  'unsupported-option',
  'preflight-refused',
  'refused-by-policy',
]);

/** Codes that refuse a migration only when the agent answers the request itself: the VM is not one that can be moved now. */
const REFUSALS_OF_THE_REQUEST = new Set<ErrorCode>(['wrong-state', 'duplicate-migration']);

/** The exit code of a command that failed with `error`. */
export function exitCodeOfError(error: ErrorBody): ExitCode {
  if (USAGE.has(error.code)) return EXIT.usage;
  // There is no VM, node or migration of that name: one exit code, whatever the command.
  if (REFUSALS.has(error.code) || error.code === 'not-found') return EXIT.refused;
  if (error.code === 'cancelled') return EXIT.cancelled;
  if (error.code === 'outcome-unknown') return EXIT.unknown;
  return EXIT.failed;
}

/**
 * The exit code where the request for a migration failed. A connection that broke after the request had gone out
 * leaves it open whether the migration started: that is unknown, not failed.
 */
export function exitCodeOfRefusedStart(error: ErrorBody): ExitCode {
  if (REFUSALS_OF_THE_REQUEST.has(error.code)) return EXIT.refused;
  if (error.code === 'link-lost') return EXIT.unknown;
  return exitCodeOfError(error);
}

/**
 * The exit code of a migration that ended. A completed one whose memory was found to differ afterwards
 * (--verify after) is no success: 1, although the VM is on the target; error and verify in the result tell.
 */
export function exitCodeOfResult({ outcome, error, verify }: MigrationResult): ExitCode {
  switch (outcome) {
    case 'completed':
      return error !== null || verify.mismatches > 0 ? EXIT.failed : EXIT.done;
    case 'cancelled':
      return EXIT.cancelled;
    case 'unknown':
      return EXIT.unknown;
    case 'failed':
      return error !== null && REFUSALS.has(error.code) ? EXIT.refused : EXIT.failed;
  }
}

/** The exit code of a dry run. */
export function exitCodeOfPreflight({ ok }: PreflightReport): ExitCode {
  return ok ? EXIT.done : EXIT.refused;
}
