import t from 'tap';
import type { StatusReport } from '../../shared/api.js';
import { completedNames, withColons } from '../../scripts/cli/completion.js';

/** Names that shells complete. What yargs completes: command-help.test.ts. */

const report = {
  node: { node: 'a', peers: [{ node: 'b' }, { node: 'c' }] },
  guests: [{ name: 'web' }, { name: 'db' }],
  migrations: [
    { id: 'm-from-here', role: 'source' },
    { id: 'm-to-here', role: 'target' },
  ],
} as unknown as StatusReport;

/** What the last word can become; the words are no options, or `--option` with its value. */
const completed = (line: string, from: StatusReport | null = report) => {
  const words = line.split(' ');
  const current = words.at(-1)!;
  const positionals = words.filter(
    (word, index) => !word.startsWith('--') && !words[index - 1]?.startsWith('--'),
  );
  return completedNames({ before: words.at(-2)!, current, positionals }, from);
};

await t.test('names that the agent knows', (t) => {
  t.same(completed('vmferry migrate '), ['web', 'db']);
  t.same(completed('vmferry vm console w'), ['web', 'db'], 'the shell takes those that begin so');
  t.same(completed('vmferry migrate web --to '), ['a', 'b', 'c']);
  t.same(completed('vmferry migrate --to b '), ['web', 'db']);
  t.same(completed('vmferry history --vm '), ['web', 'db']);
  t.same(completed('vmferry cancel '), ['m-from-here'], 'of migrations those that start here');
  t.same(completed('vmferry drain '), ['a', 'b', 'c']);
  t.same(completed('vmferry drain a,'), ['a,b', 'a,c']);
  t.same(completed('vmferry drain ', null), [], 'an agent that does not answer');
  t.end();
});

await t.test('files are left to the shell, all else to yargs', (t) => {
  t.same(completed('vmferry vm define '), []);
  t.same(completed('vmferry agent --config '), []);
  for (const line of ['', 'vm', 'vm ', 'vm start web ', 'migrate --', 'migrate web --verify ', 'status ']) {
    t.equal(completed(`vmferry ${line}`), null, line);
  }
  t.end();
});

await t.test('bash takes the colons of a URL for words', (t) => {
  t.same(withColons(['--agent', 'http', ':', '//a', ':', '7800', 'vm', '']), [
    '--agent',
    'http://a:7800',
    'vm',
    '',
  ]);
  t.end();
});
