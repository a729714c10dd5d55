import { setTimeout as delay } from 'node:timers/promises';

/** Between two looks at what is settled by other processes. ms */
const LOOK_EVERY_MS = 40;

/** Looks again until nothing is wrong; what still is after `limitMs`. A look that throws counts as something wrong. */
export async function eventually(limitMs: number, look: () => Promise<readonly string[]>): Promise<string[]> {
  const until = performance.now() + limitMs;
  for (;;) {
    const wrong = await look().catch((error: unknown) => [String(error)]);
    if (wrong.length === 0) return [];
    if (performance.now() > until) return wrong.map((text) => `${text} (still so after ${limitMs} ms)`);
    await delay(LOOK_EVERY_MS);
  }
}
