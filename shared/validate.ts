import type { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';

/** Reasons that a message names at most; more do not help whoever reads it. */
const MAX_REASONS = 5;

/** How one reason is told: what is wrong at `path`; `unknown`: fields there that are none. */
export type Describe = (path: readonly PropertyKey[], message: string, unknown: readonly string[]) => string;

/**
 * `value` as a fresh object of the schema's type.
 * Throws MigrationError `code`, naming `what`, every field that is wrong and why.
 */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode,
  what: string,
  describe: Describe = named,
): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues
    .flatMap((issue) => reasonsOf(issue, [], describe))
    .slice(0, MAX_REASONS);
  throw new MigrationError(code, `${what} is not valid: ${reasons.join('; ')}`);
}

type Issue = z.core.$ZodIssue;

/** The reasons of one issue. For a union zod says 'Invalid input' alone: the branch that was meant says why. */
function reasonsOf(issue: Issue, parent: readonly PropertyKey[], describe: Describe): string[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union') {
    // a branch of another type was not meant
    const meant = issue.errors.find((issues) => issues.some((inner) => inner.code !== 'invalid_type'));
    const branch = meant ?? issue.errors[0];
    if (branch !== undefined) return branch.flatMap((inner) => reasonsOf(inner, path, describe));
    return [describe(path, 'is none of those known', [])];
  }
  return [describe(path, issue.message, issue.code === 'unrecognized_keys' ? issue.keys : [])];
}

function named(path: readonly PropertyKey[], message: string): string {
  return path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`;
}
