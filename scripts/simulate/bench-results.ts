import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { MigrationError } from '../../shared/errors.js';
import { parseYaml } from '../../shared/yaml-document.js';

/** What is read of the document that `vmferry bench migrate` or `bench concurrent` wrote: see scripts/bench/bench-report.ts. */
const positive = z.number().positive();
const options = z.object({
  memory: z.string(),
  populated: z.string(),
  workload: z.string(),
  maxDowntime: z.string(),
  maxTime: z.string(),
});

const MoveSchema = z.object({
  totalMs: positive,
  downtimeMs: z.number().min(0),
  populatedBytes: positive,
  wireBytes: positive,
  roundCount: z.number().int().min(1),
  convergence: z.string(),
  workPerSecond: z.object({ before: z.number() }).nullable(),
});
export type MeasuredMove = z.output<typeof MoveSchema>;

const MovesSchema = z.object({
  bench: z.literal('migrate'),
  startedAt: z.string(),
  options,
  series: z.array(
    z.object({
      mover: z.literal('vmferry'),
      guest: z.string(),
      memoryBytes: positive,
      workload: z.string(),
      linkBytesPerSecond: positive.nullable(),
      runs: z.array(MoveSchema).min(1),
    }),
  ),
});
export type MeasuredMoves = z.output<typeof MovesSchema>;

const FlocksSchema = z.object({
  bench: z.literal('concurrent'),
  startedAt: z.string(),
  options: options.extend({ guest: z.enum(['qemu', 'embedded']) }),
  link: z.object({ bytesPerSecond: positive.nullable() }),
  series: z.array(
    z.object({
      guests: z.number().int().min(1),
      workload: z.string(),
      order: z.enum(['sequential', 'at once']),
      runs: z
        .array(
          z.object({
            totalMs: positive,
            wireBytes: positive,
            downtimesMs: z.array(z.number()).min(1),
            convergenceFailures: z.number(),
          }),
        )
        .min(1),
    }),
  ),
});
export type MeasuredFlocks = z.output<typeof FlocksSchema>;

const ResultsSchema = z.discriminatedUnion('bench', [MovesSchema, FlocksSchema]);
export type BenchResults = z.output<typeof ResultsSchema>;

/** Throws invalid-request, naming the file, the line and the field. */
export async function readBenchResults(file: string): Promise<BenchResults> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    const reason = (thrown as Error).message;
    throw new MigrationError('invalid-request', `--check ${file}: it can't be read: ${reason}`);
  }
  return parseYaml(text, ResultsSchema, 'invalid-request', file);
}
