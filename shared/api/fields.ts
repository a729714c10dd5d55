import { z } from 'zod';
import type { ErrorBody } from '../errors.js';
import { NameSchema } from '../names.js';
import { ErrorCodeSchema } from '../protocol/messages.js';

/** What fields of answers have in common. */

export const Count = z.int().min(0);
export const Milliseconds = z.number().min(0);
export const Rate = z.number().min(0);
export const Timestamp = z.iso.datetime();
export const NodeAddress = z.object({ node: NameSchema, url: z.string() });

export const ErrorBodySchema: z.ZodType<ErrorBody> = z
  .object({
    code: ErrorCodeSchema,
    message: z.string().describe('The thing, the reason and, where there is one, the remedy.'),
    retryable: z
      .boolean()
      .describe('The same request can succeed later with nothing changed by the operator.'),
    field: z
      .array(z.union([z.string(), z.int()]))
      .optional()
      .describe(
        'The field of the VM definition that is wrong, with all that it is in: names, and places in lists from 0.',
      ),
  })
  .meta({ id: 'Error', description: 'A failure.' });

export const Ok = z.boolean().describe('True if no finding is a refusal.');

/** A count in a query or header; 15 digits stay below 2^53. */
export const CountTextSchema = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number of at most 15 digits')
  .transform(Number);

export const ErrorAnswerSchema = z.object({ error: ErrorBodySchema }).meta({ id: 'ErrorAnswer' });
export type ErrorAnswer = z.output<typeof ErrorAnswerSchema>;
