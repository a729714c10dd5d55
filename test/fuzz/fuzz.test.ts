import { randomInt } from 'node:crypto';
import t from 'tap';
import { runTarget } from './run-target.js';
import { FUZZ_TARGETS } from './targets/all.js';

/** The first cases of `npm run test:fuzz`, which are always the same, and some that are never the same. */
const FIXED_SEED = 1;

for (const kind of FUZZ_TARGETS) {
  await t.test(kind.name, async (t) => {
    for (const seed of [FIXED_SEED, randomInt(2 ** 32)]) {
      const failure = await runTarget(kind, seed, Math.ceil(kind.ciCases / 2));
      const again =
        failure && `npm run test:fuzz -- --target ${failure.target} --seed ${failure.seed} --cases 1`;
      if (failure) throw new Error(`it did not hold; again: ${again}`, { cause: failure.error });
      t.pass(`seed ${seed}`);
    }
  });
}
