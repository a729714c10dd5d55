import { configReference } from '../shared/config-reference.js';
import { VERSION } from '../shared/version.js';
import { commandHelp, type CommandHelp, type HelpRow } from './cli/command-help.js';
import { EXIT_MEANINGS } from './cli/exit-code.js';
import { DEFINITIONS, DOCUMENTS, FILES, SIGNALS, VARIABLES } from './man-page/facts.js';
import { optionValue } from './man-page/option-values.js';
import { entry, escaped, example, lines } from './man-page/roff.js';

/**
 * Prints the manual page vmferry(1), in the macros of man(7): made of what `--help` says and of the configuration's schema. The day on it
 * is that of SOURCE_DATE_EPOCH.
 */

const sentence = (text: string) => `${text[0]!.toUpperCase()}${text.slice(1)}.`;

const isGlobal = ({ title }: { title: string }) => title.startsWith('Options of all');

function rowText(path: readonly string[], row: HelpRow): string[] {
  const value = row.name.startsWith('--') ? optionValue(path, row) : '';
  const text = [
    sentence(row.text),
    ...(row.required && row.name.startsWith('--') ? ['It must be given.'] : []),
    ...(row.fallback === '' || row.fallback === 'false' ? [] : [`Default: ${row.fallback}.`]),
  ].join(' ');
  return entry(value === '' ? row.name : `${row.name} `, value, text);
}

function sectionText(path: readonly string[], { title, rows }: CommandHelp['sections'][number]): string[] {
  if (title === 'Examples') return rows.flatMap(({ name, text }) => example(name, sentence(text)));
  // What stands for arguments, and options without a heading of their own, need none.
  const heading = title === 'Positionals' || title === 'Options' ? [] : ['.PP', `${escaped(title)}:`];
  return [...heading, ...rows.flatMap((row) => rowText(path, row))];
}

/** Commands of a group have a part of their own each, options of all commands are told once. */
function commandText({ path, usage, description, sections }: CommandHelp): string[] {
  const own = sections.filter((section) => section.title !== 'Commands' && !isGlobal(section));
  return [
    `.SS "${escaped(usage)}"`,
    escaped(sentence(description)),
    ...own.flatMap((section) => sectionText(path, section)),
  ];
}

const isGroup = ({ sections }: CommandHelp) => sections.some(({ title }) => title === 'Commands');

async function manPage(): Promise<string> {
  const [top, ...all] = await commandHelp();
  const commands = all.filter((command) => !isGroup(command));
  const day = new Date(Number(process.env['SOURCE_DATE_EPOCH'] ?? 0) * 1000).toISOString().slice(0, 10);
  const globals = top!.sections.filter(isGlobal).flatMap(({ rows }) => rows);
  const examples = top!.sections.filter(({ title }) => title === 'Examples');
  const variables = globals.flatMap(({ name, text }) =>
    [...text.matchAll(/VMFERRY_\w+/g)].map(
      ([variable]) => [variable, `Stands for ${name} where that is not given.`] as const,
    ),
  );
  const terms = (list: typeof FILES) => list.flatMap(([term, text]) => entry(term, '', text));
  const page = [
    `.TH VMFERRY 1 ${day} "vmferry ${VERSION}" "User Commands"`,
    // Neither hyphens nor stretched spaces, which would be copied.
    '.nr HY 0',
    '.nh',
    '.ad l',
    '.SH NAME',
    'vmferry \\- live migration of running virtual machines between hosts',
    '.SH SYNOPSIS',
    '.B vmferry',
    '.I COMMAND',
    '[\\fIARGUMENT\\fR]',
    '[\\fIOPTION\\fR ...]',
    '.SH DESCRIPTION',
    escaped(top!.description),
    'A command asks one agent, that of this host if it is told no other. Where another node has the VM, the answer says which.',
    '.SH COMMANDS',
    'Arguments in <> must be given, those in [] may be. Each command is described below.',
    ...commands.flatMap(({ usage, description }) => [
      '.TP 30',
      `.B "${escaped(usage.replace('vmferry ', ''))}"`,
      escaped(sentence(description)),
    ]),
    '.SH OPTIONS OF ALL COMMANDS',
    ...globals.flatMap((row) => rowText([], row)),
    '.SH EXAMPLES',
    ...examples.flatMap((section) => sectionText([], section)),
    '.SH COMMANDS IN DETAIL',
    escaped(
      'Sizes are written like 512MiB, rates like 1gbit or 100MB (a second), times like 30ms, 10min or 12h. The configuration of the agent from which ' +
        'a VM moves (migration, below) may have other defaults for migrations than those that are told here.',
    ),
    ...commands.flatMap(commandText),
    '.SH EXIT STATUS',
    ...EXIT_MEANINGS.flatMap(({ code, text }) => entry(String(code), '', sentence(text))),
    '.SH ENVIRONMENT',
    ...terms([...variables, ...VARIABLES]),
    '.SH SIGNALS',
    ...terms(SIGNALS),
    '.SH DEFINITION OF A VM',
    escaped(
      'A file in YAML or JSON, for vm define. All fields are told in OPERATIONS.md and README.md (see below).',
    ),
    ...DEFINITIONS.flatMap(([text, meaning]) => ['.PP', escaped(meaning), ...lines(text)]),
    '.SH CONFIGURATION',
    escaped(
      'The fields of the configuration of an agent, a file in YAML. A point stands for a field in another one.',
    ),
    ...configReference().flatMap(({ field, description, allowed, fallback }) =>
      entry(field, '', `${description} Allowed: ${allowed}. Default: ${fallback}.`),
    ),
    '.SH FILES',
    'Paths are those of the Debian package and of its example of a configuration.',
    ...terms(FILES),
    '.SH SEE ALSO',
    '.BR systemctl (1),',
    '.BR journalctl (1)',
    '.PP',
    'In',
    '.IR /usr/share/doc/vmferry :',
    ...terms(DOCUMENTS),
  ];
  // A heading begins a paragraph.
  const spoken = page.filter(
    (line, index) => line !== '' && !(line === '.PP' && /^\.S[HS]/.test(page[index - 1] ?? '')),
  );
  return `${spoken.join('\n')}\n`;
}

// The page is the same whoever makes it.
for (const name of Object.keys(process.env)) if (name.startsWith('VMFERRY_')) delete process.env[name];
process.stdout.write(await manPage());
