import { configReference, type ConfigField } from '../shared/config-reference.js';
import { VERSION } from '../shared/version.js';
import { commandHelp, type CommandHelp } from './cli/command-help.js';

/**
 * Prints the manual page vmferry(1), in the macros of man(7): made of what `--help` says and of the configuration's schema. The day on it
 * is that of SOURCE_DATE_EPOCH.
 */

/** Text of a line that is no request. */
function escaped(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/`/g, '')
    .replace(/^([.'])/gm, '\\&$1');
}

function commandText({ path, usage, description, sections }: CommandHelp): string[] {
  return [
    `.SS "${escaped(usage)}"`,
    escaped(description),
    ...sections
      // Commands have a part of their own each, options of all commands are said once.
      .filter(
        ({ title }) => title !== 'Commands' && (path.length === 0 || !title.startsWith('Options of all')),
      )
      .flatMap(({ title, rows }) => [
        '.PP',
        `.B ${escaped(title)}`,
        ...rows.flatMap(({ name, text }) => ['.TP', `.B ${escaped(name)}`, escaped(text)]),
      ]),
  ];
}

function fieldText({ field, description, allowed, fallback }: ConfigField): string[] {
  return [
    '.TP',
    `.B ${escaped(field)}`,
    escaped(`${description} Allowed: ${allowed}. Default: ${fallback}.`),
  ];
}

async function manPage(): Promise<string> {
  const [top, ...commands] = await commandHelp();
  const day = new Date(Number(process.env['SOURCE_DATE_EPOCH'] ?? 0) * 1000).toISOString().slice(0, 10);
  const lines = [
    `.TH VMFERRY 1 ${day} "vmferry ${VERSION}" "User Commands"`,
    '.SH NAME',
    'vmferry \\- live migration of running virtual machines between hosts',
    '.SH SYNOPSIS',
    '.B vmferry',
    '.I COMMAND',
    '.SH DESCRIPTION',
    escaped(top!.description),
    ...commandText({ ...top!, usage: 'vmferry', description: '' }),
    '.SH COMMANDS',
    ...commands.flatMap(commandText),
    '.SH EXIT STATUS',
    escaped(top!.epilogue),
    '.SH CONFIGURATION',
    'The fields of the configuration of an agent, in YAML.',
    ...configReference().flatMap(fieldText),
    '.SH FILES',
    ...['.TP', '.I /etc/vmferry/agent.yaml', "the agent's configuration"],
    ...['.TP', '.I /var/lib/vmferry', 'definitions of VMs, the journal of who owns them'],
    '.SH SEE ALSO',
    '.BR systemctl (1),',
    '.BR journalctl (1),',
    '.I /usr/share/doc/vmferry',
  ];
  return lines.filter((line) => line !== '').join('\n') + '\n';
}

// The page is the same whoever makes it.
for (const name of Object.keys(process.env)) if (name.startsWith('VMFERRY_')) delete process.env[name];
process.stdout.write(await manPage());
