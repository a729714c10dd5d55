import type { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';

/** Reasons that a message names at most; more do not help whoever reads it. */
export const MAX_REASONS = 5;

/**
 * `value` as a fresh object of the schema's type.
 * Throws MigrationError `code`, naming `what`, every field that is wrong and why.
 */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode,
  what: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues.flatMap(issueReasons).slice(0, MAX_REASONS).map(named);
  throw new MigrationError(code, `${what} is not valid: ${reasons.join('; ')}`);
}

type Issue = z.core.$ZodIssue;

/** One thing that is wrong, and where. */
export interface Reason {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** Fields at `path` that nobody knows, if it is those. */
  readonly keys?: readonly string[];
}

/** The reasons of one issue. For a union zod says 'Invalid input' alone: the branch that was meant says why. */
export function issueReasons(issue: Issue): Reason[] {
  return reasonsOf(issue, []);
}

function reasonsOf(issue: Issue, parent: readonly PropertyKey[]): Reason[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union') {
    // a branch of another type was not meant
    const meant = issue.errors.find((issues) => issues.some((inner) => inner.code !== 'invalid_type'));
    const branch = meant ?? issue.errors[0];
    if (branch !== undefined) return branch.flatMap((inner) => reasonsOf(inner, path));
    return [{ path, message: 'is none of those known' }];
  }
  const keys = issue.code === 'unrecognized_keys' ? { keys: issue.keys } : {};
  return [{ path, message: issue.message, ...keys }];
}

function named({ path, message }: Reason): string {
  return path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`;
}
