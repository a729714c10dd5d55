import { z } from 'zod';

/** Text with a unit, or a plain number in `unit`. */
export const quantity = (
  unit: 'bytes' | 'bytes/s' | 'ms',
  parse: (text: string) => number,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
) =>
  z
    .union([
      z.number(),
      z.string().transform((text, context) => {
        try {
          return parse(text);
        } catch (error) {
          context.addIssue({ code: 'custom', message: (error as Error).message });
          return z.NEVER;
        }
      }),
    ])
    .pipe(z.number().min(minimum).max(maximum))
    .meta({ unit, minimum, maximum });
