import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ApiTokens, createToken, tokenLine } from '../../shared/api-tokens.js';

const directory = await mkdtemp(join(tmpdir(), 'vmferry-tokens-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));

async function file(content: string): Promise<string> {
  const path = join(directory, 'tokens.yaml');
  await rm(path, { force: true });
  await writeFile(path, content);
  return path;
}

await t.test('what was created is found, by its hash alone', async (t) => {
  const ci = createToken('ci', 'operate');
  const look = createToken('1e3', 'read');
  const lines = `# tokens\n${tokenLine(ci.entry)}\n${tokenLine(look.entry)}\n`;
  t.notOk(lines.includes(ci.token));
  const tokens = ApiTokens.read(await file(lines));
  t.same(tokens.find(ci.token), { name: 'ci', role: 'operate' });
  t.same(tokens.find(look.token), { name: '1e3', role: 'read' });
  t.equal(tokens.find(`${ci.token}x`), null);
  t.equal(tokens.find(''), null);
  t.equal(tokens.find(ci.entry.sha256), null, 'who has read the file has no token');
});

await t.test('a file that can not be used', async (t) => {
  const line = tokenLine(createToken('ci', 'operate').entry);
  const refused = async (content: string, message: RegExp) => {
    const path = await file(content);
    t.throws(() => ApiTokens.read(path), { code: 'invalid-request', message });
  };
  await refused('', /must be a list/);
  await refused('[]', /must have at least 1 entries/);
  await refused(`${line}\n${line}`, /two tokens have the same name/);
  await refused(line.replace('operate', 'admin'), /0\.role/);
  await refused(line.replace(/sha256: "./, 'sha256: "'), /64 hexadecimal digits/);
  const secret = createToken('x', 'read').token;
  await refused(`- {${secret}`, /is no YAML: write what 'vmferry token create' prints$/);
  const open = await file(line);
  await chmod(open, 0o664);
  t.throws(() => ApiTokens.read(open), {
    message: /others than its owner can write to it \(mode 0664\); chmod go-w/,
  });
  t.throws(() => ApiTokens.read('/nowhere'), {
    message: /the file of tokens \/nowhere \('tokens'\).*ENOENT/,
  });
});
