import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { journalText } from '../../../agent/journal/ownership-journal.js';
import { AgentLab, definitionOf } from '../../support/agent-lab.js';

/** The examples, run against real agents: a and b, and one that finds a VM whose outcome is open. */

const OPEN = { migration: 'm-00000001', decision: 'commit-sent', vm: 'held', peer: 'gone' } as const;

const lab = await AgentLab.start(t, ['a', 'b', 'c'], {}, undefined, async (directory) => {
  await mkdir(join(directory, 'c', 'guests'), { recursive: true });
  await mkdir(join(directory, 'c', 'journal'));
  const held = definitionOf({ name: 'held' });
  await writeFile(join(directory, 'c', 'guests', 'held.json'), JSON.stringify(held));
  const entry = journalText({ ...OPEN, at: new Date().toISOString() });
  await writeFile(join(directory, 'c', 'journal', `${OPEN.migration}.json`), entry);
});

// As it is installed.
const bin = join(lab.directory, 'bin');
await mkdir(bin);
const cli = fileURLToPath(new URL('../../../scripts/vmferry.js', import.meta.url));
await writeFile(join(bin, 'vmferry'), `#!/bin/sh\nexec '${process.execPath}' '${cli}' "$@"\n`);
await chmod(join(bin, 'vmferry'), 0o755);

/** Starts an example, asking the agent of `node`. */
function start(node: string, command: string, ...args: string[]) {
  const child = spawn(command, args, {
    env: {
      ...process.env,
      PATH: `${bin}${delimiter}${process.env['PATH']}`,
      VMFERRY_AGENT: lab.agent(node).url,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill());
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[exitCode], stdout, stderr]) => ({ exitCode: exitCode as number | null, stdout, stderr }),
  );
  return { child, ended };
}

const example = (name: string) => join('scripts', 'examples', name);

await lab.boot('a', { name: 'web' });

await t.test('migrate-and-report', async (t) => {
  t.match(await start('a', example('migrate-and-report'), 'web', 'b').ended, {
    exitCode: 0,
    stdout: /^web runs on b: down for \d+ ms, \d+ rounds, \d+ bytes sent\n$/,
  });
  t.match(await start('a', example('migrate-and-report'), 'web', 'b').ended, {
    exitCode: 3,
    stdout: /^web was not moved \(not-found\): VM web is not defined on node a/,
  });
});

await t.test('wait-until-idle', async (t) => {
  await lab.boot('a', { name: 'slow', program: 'dirty' });
  const id = await lab.request('slow', 'a', 'b', { bandwidthBytesPerSecond: 8000 });
  await lab.copying('a', id);
  const waiting = start('a', example('wait-until-idle'), '0.1');
  await once(waiting.child.stderr, 'readable');
  await lab.client('a').cancelMigration(id);
  t.match(await waiting.ended, {
    exitCode: 0,
    stdout: '',
    stderr: new RegExp(`^${id}: slow, a to b, running\n`),
  });
});

await t.test('nightly-moves', async (t) => {
  const list = await lab.file('moves', '# at night\nslow b\n\nnobody b\nweb b\n');
  const moved = await start('a', example('nightly-moves'), list).ended;
  t.match(moved, { exitCode: 1, stdout: /^slow: on b after \d+ ms\n$/ });
  t.match(moved.stderr, /^not moved: nobody: VM nobody is not .*\nnot moved: web: /);
  t.same(await lab.whereIs('slow'), { b: 'running' });
});

await t.test('move-all, with the client library', async (t) => {
  const program = fileURLToPath(new URL(`../../../${example('move-all.js')}`, import.meta.url));
  const moved = await start('b', process.execPath, program, lab.agent('b').url, 'a').ended;
  t.match(moved, { exitCode: 0, stderr: '' });
  for (const vm of ['web', 'slow']) {
    t.match(moved.stdout, new RegExp(`${vm}: \\d+ pages left\n${vm}: completed, down for`));
    t.same(await lab.whereIs(vm), { a: 'running' });
  }
  t.match(await start('a', process.execPath, program, lab.agent('a').url, 'z').ended, {
    exitCode: 1,
    stderr: /^web: unknown-node: node z is not known here/m,
  });
});

await t.test('alert-unknown-outcomes', async (t) => {
  t.same(await start('a', example('alert-unknown-outcomes')).ended, { exitCode: 0, stdout: '', stderr: '' });
  await lab.agent('b').stop();
  const urls = ['a', 'b', 'c'].map((node) => lab.agent(node).url);
  const { exitCode, stdout } = await start('a', example('alert-unknown-outcomes'), ...urls).ended;
  t.equal(exitCode, 1);
  t.match(stdout, new RegExp(`^agent at ${urls[1]}: the connection is refused`));
  t.match(stdout, /^held stands still on c, asked for m-00000001 since .*: node gone can't be asked/m);
  t.match(stdout, /^ {2}vmferry vm resolve held --owner c --force\n {4}if node gone has committed/m);
  t.match(
    await start('b', example('wait-until-idle')).ended,
    { exitCode: 1 },
    'an agent that does not answer is not idle',
  );
});
