import { z } from 'zod';

/** Text that `parse` makes something of; what that throws is what is wrong with it. */
export const parsedText = <Value>(parse: (text: string) => Value) =>
  z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });

/** Text with a unit, or a plain number in `unit`. */
export const quantity = (
  unit: 'bytes' | 'bytes/s' | 'ms',
  parse: (text: string) => number,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
) =>
  z
    .union([z.number(), parsedText(parse)])
    .pipe(z.number().min(minimum).max(maximum))
    .meta({ unit, minimum, maximum });
