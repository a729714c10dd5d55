import { z } from 'zod';
import { NameSchema } from '../names.js';
import { PAGE_SIZE } from '../page.js';
import { LinkTestMemorySchema, MAX_LINK_TEST_BYTES } from '../protocol/messages.js';
import { Count, Rate } from './fields.js';
import { option } from './migration-request.js';
import { StreamsReportSchema } from './migrations.js';

/** `vmferry bench link`: pages from memory of this node to memory of another, again and again. */
export const LinkTestSchema = z
  .strictObject({
    to: NameSchema,
    memory: LinkTestMemorySchema.describe('As guests of that kind have it.').default('embedded'),
    bytes: z
      .number()
      .int()
      .min(PAGE_SIZE)
      .max(MAX_LINK_TEST_BYTES)
      .multipleOf(PAGE_SIZE)
      .describe('Whole pages.')
      .default(256 * 2 ** 20),
    rounds: z
      .number()
      .int()
      .min(2)
      .max(100)
      .describe('The first makes memory and code warm, and shows how many streams pay.')
      .default(4),
    bandwidthBytesPerSecond: option.bandwidthBytesPerSecond,
    streams: option.streams,
    wait: z
      .boolean()
      .exactOptional()
      .describe(
        'False: where one of the two nodes is not free it fails at once, with pair-busy. True if not given.',
      ),
    maxMs: z
      .int()
      .min(1)
      .max(3_600_000)
      .exactOptional()
      .describe(
        'Rounds that have not begun by then are left out, and one that has not ended is given up, with timeout. ms',
      ),
  })
  .meta({
    id: 'LinkTest',
    description: 'Pages from memory of this node to memory of another, again and again.',
  });
export type LinkTestRequest = z.output<typeof LinkTestSchema>;

export const LinkTestResultSchema = z
  .object({
    from: NameSchema,
    to: NameSchema,
    memory: LinkTestMemorySchema,
    bytes: Count,
    bytesPerSecond: z
      .array(Rate)
      .describe(
        'Guest memory a second in each round, from the first byte until the target has applied all of it; the first is the cold one.',
      ),
    wireBytes: Count.describe('Put on the link in all rounds, framing included.'),
    streams: StreamsReportSchema,
  })
  .meta({ id: 'LinkTestResult' });
export type LinkTestResult = z.output<typeof LinkTestResultSchema>;
