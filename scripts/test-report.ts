import { createInterface } from 'node:readline';

/**
 * Reads the TAP output of a test run from standard input and prints what people want of it: a line for each file as it
 * ends, all of what failed, tap's own summary, and last `N passed, N failed`. Exits with 1 if anything failed, if
 * nothing was run, or if the output ends without a summary.
 */

/** A result at any depth; what is marked TODO or SKIP has not failed. */
const FAILED = /^\s*not ok\b(?!.*# (?:TODO|SKIP)\b)/i;
const FILE_RESULT = /^(?:not )?ok \d+ - \S+\.test\.js/;
/** tap's closing line: `# { total: 82, pass: 80, fail: 2 }` */
const SUMMARY = /^# \{ total: \d+/;

let summary = '';
let failures = 0;
let diagnosing = false;

for await (const line of createInterface({ input: process.stdin })) {
  const failed = FAILED.test(line);
  if (failed) failures += 1;
  if (failed || diagnosing || FILE_RESULT.test(line)) console.log(line);
  // The diagnosis of a failure is a YAML block, from '---' to '...'.
  if (failed) diagnosing = true;
  else if (/^\s*(?:\.\.\.|ok\b|\})/.test(line)) diagnosing = false;
  if (SUMMARY.test(line)) summary = line.slice(2);
}

const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
console.log(summary === '' ? 'the test run did not finish: its output has no summary' : summary);
console.log(`${count('pass')} passed, ${count('fail')} failed`);
process.exitCode = count('total') === 0 || count('fail') > 0 || failures > 0 ? 1 : 0;
