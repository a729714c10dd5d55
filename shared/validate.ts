import type { z } from 'zod';
import { type ErrorCode, MigrationError } from './errors.js';

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
  const reasons = parsed.error.issues.slice(0, 5).map((issue) => {
    const field = issue.path.map(String).join('.');
    return field === '' ? issue.message : `${field}: ${issue.message}`;
  });
  throw new MigrationError(code, `${what} is not valid: ${reasons.join('; ')}`);
}
