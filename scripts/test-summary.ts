import { readFileSync } from 'node:fs';

/**
 * Reads the TAP output of a test run (a file), prints what failed and the last line `N passed, N failed`.
 * Exits with 1 if anything failed or nothing was run.
 */
const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: test-summary FILE');
const lines = readFileSync(file, 'utf8').split('\n');

// tap's own closing line: `# { total: 82, pass: 80, fail: 2 }`
const summary = lines.findLast((line) => line.startsWith('# { total:')) ?? '';
const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);

const failed = lines.filter((line) => /^\s*not ok\b/.test(line) && !/# (TODO|SKIP)\b/i.test(line));
for (const line of failed) console.log(line.trim());
if (summary === '') console.log('the test run did not finish: its output has no summary');
else console.log(summary.replace(/^# /, ''));
console.log(`${count('pass')} passed, ${count('fail')} failed`);
process.exitCode = summary === '' || count('total') === 0 || count('fail') > 0 || failed.length > 0 ? 1 : 0;
