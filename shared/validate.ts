import { z } from 'zod';
import { type ErrorCode, type FieldPath, MigrationError } from './errors.js';

/** Reasons that a message names at most; more do not help whoever reads it. */
const MAX_REASONS = 5;

/**
 * `value` as a fresh object of the schema's type.
 * Throws MigrationError `code`, naming `what`, every field that is wrong and why. `field`: what names the file that `value` is from.
 */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode,
  what: string,
  field?: FieldPath,
): z.output<Schema> {
  const parsed = parsedAs(schema, value);
  if (parsed.success) return parsed.data;
  const reasons = reasonsOf(parsed.error).map(({ path, message }) => named(path, message));
  throw new MigrationError(code, `${what} is not valid: ${reasons.join('; ')}`, { field });
}

/** zod's safeParse, with reasons in words that say what is allowed. */
export function parsedAs<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.ZodSafeParseResult<z.output<Schema>> {
  return schema.safeParse(value, { error: allowed });
}

const TYPES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'a list of fields',
  record: 'a list of fields',
};

/** What is allowed where a schema has no words of its own for it; undefined leaves it to zod's. */
function allowed(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return TYPES[issue.expected] && `must be ${TYPES[issue.expected]}`;
    case 'too_small':
      return `must ${amount(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum)}`;
    case 'too_big':
      return `must ${amount(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum)}`;
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'invalid_union':
      return Array.isArray(issue.options) ? `must be one of ${issue.options.join(', ')}` : undefined;
    default:
      return undefined;
  }
}

function amount(origin: string, bound: string, limit: number | bigint): string {
  if (origin === 'string') return `have ${bound} ${limit} characters`;
  return origin === 'array' ? `have ${bound} ${limit} entries` : `be ${bound} ${limit}`;
}

type Issue = z.core.$ZodIssue;

/** What is wrong with a field, and what zod knows beside words. */
export interface Reason {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly issue: Issue;
}

/** Why a value is not of its schema: the first few reasons. */
export function reasonsOf({ issues }: z.ZodError): Reason[] {
  return issues.flatMap((issue) => reasonsOfIssue(issue, [])).slice(0, MAX_REASONS);
}

/** The reasons of one issue. For a union zod says 'Invalid input' alone: the branch that was meant says why. */
function reasonsOfIssue(issue: Issue, parent: readonly PropertyKey[]): Reason[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union') {
    // a branch of another type was not meant
    const meant = issue.errors.find((issues) => issues.some((inner) => inner.code !== 'invalid_type'));
    const branch = meant ?? issue.errors[0];
    if (branch !== undefined) return branch.flatMap((inner) => reasonsOfIssue(inner, path));
    return [{ path, message: 'is none of those known', issue }];
  }
  return [{ path, message: issue.message, issue }];
}

function named(path: readonly PropertyKey[], message: string): string {
  return path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`;
}
