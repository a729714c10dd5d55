import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { vmferry } from '../support/agent-lab.js';

/** `vmferry token create` as a process of its own: it asks no agent, and there is none. */
const create = async (...args: string[]) =>
  await vmferry('http://127.0.0.1:1', ['token', 'create', ...args]).ended;

await t.test('a token is shown once, and the line for agents has its hash alone', async (t) => {
  const { exitCode, stdout, stderr } = await create('ci', '--role', 'operate');
  t.match({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  const [, token = ''] = /^token, shown this once: (\S+)$/m.exec(stdout) ?? [];
  const [line = '', hash] =
    /^- \{ name: "ci", role: operate, sha256: "([0-9a-f]{64})" \}$/m.exec(stdout) ?? [];
  t.equal(hash, createHash('sha256').update(token).digest('hex'));
  t.notOk(line.includes(token));
});

await t.test('a token in a file is for its owner alone, and replaces nothing', async (t) => {
  const file = join(t.testdir(), 'ci.token');
  const made = await create('ci', '--role', 'read', '--out', file, '--json');
  const token = readFileSync(file, 'utf8').trim();
  t.match(JSON.parse(made.stdout), {
    name: 'ci',
    role: 'read',
    line: /^- \{ name: "ci", role: read, sha256/,
  });
  t.notOk((made.stdout + made.stderr).includes(token));
  t.equal(statSync(file).mode & 0o777, 0o600);
  const again = await create('ci', '--role', 'read', '--out', file);
  t.match(again, { exitCode: 2, stdout: '', stderr: /--out: EEXIST.*; name a file that is not there yet/ });
  t.equal(readFileSync(file, 'utf8').trim(), token);
});

await t.test('where the token goes into a file, the line alone is printed: to be appended', async (t) => {
  const made = await create('ci', '--role', 'read', '--out', join(t.testdir(), 'ci.token'));
  t.match(made, {
    exitCode: 0,
    stdout: /^- \{ name: "ci".*\}\n$/,
    stderr: /the token is in .*; add the line to/,
  });
});

await t.test('what is wrong is told', async (t) => {
  const role = await create('ci', '--role', 'admin');
  t.match(role, { exitCode: 2, stdout: '', stderr: /Choices: "read", "operate"/ });
  const name = await create('no name', '--role', 'read');
  t.match(name, { exitCode: 2, stdout: '', stderr: /the name of the token/ });
});
