import { randomInt } from 'node:crypto';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { FUZZ_TARGETS } from './targets/all.js';
import { runTarget } from './run-target.js';

/** `npm run test:fuzz`: all targets with all their cases, or one of them again. */
const { seed, cases, target } = await yargs(hideBin(process.argv))
  .option('seed', { type: 'number', default: randomInt(2 ** 32), describe: 'where to begin' })
  .option('cases', { type: 'number', describe: 'cases of each target, instead of its own number' })
  .option('target', { choices: FUZZ_TARGETS.map(({ name }) => name), describe: 'this one alone' })
  .strict()
  .parse();

let total = 0;
for (const kind of FUZZ_TARGETS) {
  if (target !== undefined && kind.name !== target) continue;
  const count = cases ?? kind.cases;
  const startedAt = performance.now();
  const failure = await runTarget(kind, seed, count);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  if (failure) {
    console.error(failure.error);
    console.log(
      `${kind.name}: FAILED; again: npm run test:fuzz -- --target ${kind.name} --seed ${failure.seed} --cases 1`,
    );
    process.exitCode = 1;
  } else {
    total += count;
    console.log(`${kind.name}: ${count} cases, seed ${seed}, ${seconds} s`);
  }
}
console.log(`${total} cases held`);
