import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { configReference } from '../../shared/config-reference.js';
import { commandHelp } from '../../scripts/cli/command-help.js';
import { readDefinition } from '../../scripts/cli/definition-file.js';
import { runCommand } from '../support/api-terminal.js';

/** What the command line says of itself: `--help`, the manual page, the page of the configuration, completion. */

const run = promisify(execFile);
const script = (name: string) => fileURLToPath(new URL(`../../scripts/${name}.js`, import.meta.url));

await t.test('each command says what it is for, and shows it', async (t) => {
  const commands = await commandHelp();
  const groups = commands.filter(({ sections }) => sections.some(({ title }) => title === 'Commands'));
  t.same(
    groups.map(({ path }) => path.join(' ')),
    ['', 'vm', 'token', 'bench'],
  );
  t.ok(commands.length > 20);
  for (const command of commands) {
    const name = command.path.join(' ');
    t.not(command.description, '', `${name}: what it is for`);
    const rows = (title: string) => command.sections.find((section) => section.title === title)?.rows ?? [];
    if (command.path.length === 0 || !groups.includes(command))
      t.ok(rows('Examples').length > 0, `${name}: an example`);
    for (const { name: example } of rows('Examples')) t.match(example, `vmferry ${name}`);
    for (const { title, rows } of command.sections)
      for (const row of rows) t.not(row.text, '', `${name}: ${title}: ${row.name}`);
  }
});

await t.test('the manual page has all of it, and is sound', async (t) => {
  const { stdout: page } = await run(process.execPath, [script('man-page')], {
    env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000', VMFERRY_AGENT: 'http://elsewhere:1' },
  });
  t.match(page, '.TH VMFERRY 1 2023-11-14');
  t.notMatch(page, 'elsewhere', 'nothing of who made it');
  const commands = await commandHelp();
  const groups = new Set(['vmferry COMMAND', 'vmferry vm', 'vmferry token', 'vmferry bench']);
  for (const { usage } of commands.filter(({ usage }) => !groups.has(usage))) {
    t.ok(page.includes(`.SS "${usage.replaceAll('-', '\\-')}"\n`), usage);
    t.ok(
      page.includes(`.TP 30\n.B "${usage.replace('vmferry ', '').replaceAll('-', '\\-')}"\n`),
      `${usage}: in the list`,
    );
  }
  for (const { field } of configReference()) t.ok(page.includes(`.B "${field}"\n`), field);
  for (const variable of ['AGENT', 'TOKEN_FILE', 'CA', 'CERTIFICATE', 'KEY'])
    t.ok(page.includes(`.B "VMFERRY_${variable}"\n`));
  t.ok(page.includes('.BI "\\-\\-max\\-downtime " "TIME"\n'), 'options have the names of their values');
  t.match(page, 'Default: 30ms, or as the agent is configured.');
  // A line that begins with a point and is no request would not be shown.
  const requests = new Set(page.match(/^[.'].*?(?=\s)/gm));
  t.same([...requests].sort(), [
    '.B',
    '.BI',
    '.BR',
    '.EE',
    '.EX',
    '.I',
    '.IR',
    '.PP',
    '.RE',
    '.RS',
    '.SH',
    '.SS',
    '.TH',
    '.TP',
    '.ad',
    '.nh',
    '.nr',
  ]);
  // Others vanish where the locale is C.
  t.match(page, /^[\n\x20-\x7e]*$/);

  const typed = (text: string) => {
    const characters = { rs: '\\', aq: "'", dq: '"', ha: '^', ti: '~' } as Record<string, string>;
    return text.replace(/\\(?:\((..)|(.))/g, (_, name: string, character: string) =>
      name ? characters[name]! : character,
    );
  };
  const copied = [...page.matchAll(/^\.EX\n([^]*?)\n\.EE$/gm)].map(([, lines]) =>
    typed(lines!).replace(/ \\\n +/g, ' '),
  );
  const examples = commands.flatMap(({ sections }) => sections.filter(({ title }) => title === 'Examples'));
  for (const { name } of examples.flatMap(({ rows }) => rows))
    t.ok(copied.includes(name), `to be copied: ${name}`);
  const definitions = copied.filter((text) => text.startsWith('name: '));
  t.equal(definitions.length, 2);
  for (const text of definitions) await t.resolves(readDefinition('-', Readable.from([Buffer.from(text)])));
});

await t.test('CONFIGURATION.md is what the schema says', async (t) => {
  const { stdout: page } = await run(process.execPath, [script('configuration-page')]);
  t.equal(await readFile('CONFIGURATION.md', 'utf8'), page, "'npm run docs' makes it anew");
  for (const { field, description, allowed } of configReference()) {
    t.not(description, '', `${field}: what it means`);
    t.not(allowed, '', `${field}: what is allowed`);
  }
});

await t.test('bash completes commands, and options of a command', async (t) => {
  const folder = t.testdir({ bin: {} });
  const setUp = `
    vmferry() { ${process.execPath} ${script('vmferry')} "$@"; }
    eval "$(SHELL=/bin/bash vmferry completion)"
    complete_line() {
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
      $(complete -p vmferry | sed 's/.*-F \\(\\S*\\).*/\\1/')
      printf '%s ' "\${COMPREPLY[@]}"; echo
    }`;
  const completions = async (...words: string[]) => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const { stdout } = await run('bash', ['--norc', '-c', `${setUp}\ncomplete_line ${line}`], {
      cwd: folder,
    });
    return stdout.trim().split(' ');
  };
  t.same(await completions('vmferry', 'mig'), ['migrate']);
  t.same((await completions('vmferry', 'vm', 're')).sort(), ['resolve', 'resume']);
  t.same(await completions('vmferry', 'migrate', 'web', '--max-d'), ['--max-downtime']);
  t.same(await completions('vmferry', 'bench', 'comp'), ['compare']);
});

await t.test('zsh gets a script of its own', async (t) => {
  const env = { ...process.env, SHELL: '/bin/zsh' };
  const { stdout } = await run(process.execPath, [script('vmferry'), 'completion'], { env });
  t.match(stdout, /^#compdef vmferry/);
});

await t.test('completion has a help, and VMs may have its name', async (t) => {
  const { stdout } = await run(process.execPath, [script('vmferry'), 'completion', '--help']);
  t.match(stdout, /^vmferry completion\n.*Examples:\n/s);
  t.notMatch(stdout, '###-begin');
  const { stderr, stdout: nothing } = await runCommand([
    'vm',
    'start',
    'completion',
    '--agent',
    'http://127.0.0.1:1',
  ]);
  t.match(stderr, /agent at http:\/\/127\.0\.0\.1:1: /);
  t.equal(nothing, '');
});
