import { setImmediate } from 'node:timers/promises';
import { Random } from './random.js';
import type { FuzzTarget, FuzzTargetKind } from './target.js';

/** A case that takes longer hangs. ms */
const HANG_MS = 20_000;

/** Cases between two looks at whether it still serves, and at what it holds. */
const LOOK_EVERY = 1000;

/** Growth of resident memory that is no matter of chance. bytes */
const MAX_GROWTH_BYTES = 512 * 2 ** 20;

export interface FuzzFailure {
  readonly target: string;
  /** Seed of the case that failed: with `--cases 1` it alone is run again. */
  readonly seed: number;
  readonly error: unknown;
}

/** The seed of case number `index` of a run. */
const seedOf = (seed: number, index: number) => (seed + index) >>> 0;

/** Runs so many cases from `seed` on; null if all held. What is thrown or rejected outside of a case is the case's too. */
export async function runTarget(
  kind: FuzzTargetKind,
  seed: number,
  cases: number,
): Promise<FuzzFailure | null> {
  let stray: { error: unknown } | null = null;
  const onStray = (error: unknown) => (stray ??= { error });
  process.on('uncaughtException', onStray);
  process.on('unhandledRejection', onStray);
  const target = await kind.open();
  const before = process.memoryUsage.rss();
  let index = 0;
  try {
    for (; index < cases; index += 1) {
      await oneCase(target, new Random(seedOf(seed, index)));
      if (index % LOOK_EVERY === LOOK_EVERY - 1 || index === cases - 1) {
        await setImmediate();
        await target.stillServing?.();
        const grown = process.memoryUsage.rss() - before;
        if (grown > MAX_GROWTH_BYTES) throw new Error(`resident memory has grown by ${grown} bytes`);
      }
      if (stray) throw (stray as { error: unknown }).error;
    }
    return null;
  } catch (error) {
    return { target: kind.name, seed: seedOf(seed, index), error };
  } finally {
    await target.close?.();
    process.off('uncaughtException', onStray);
    process.off('unhandledRejection', onStray);
  }
}

async function oneCase(target: FuzzTarget, random: Random): Promise<void> {
  const running = target.run(random);
  if (running === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the case hangs: ${HANG_MS} ms`)), HANG_MS);
  });
  try {
    await Promise.race([running, hang]);
  } finally {
    clearTimeout(timer);
  }
}
