import { helpText } from './command-line.js';

/** A name with what is said of it: an option, a positional, a command, an example. */
export interface HelpRow {
  readonly name: string;
  readonly text: string;
  /** What yargs tells of an option or a positional behind that. */
  readonly type: string;
  readonly required: boolean;
  readonly choices: readonly string[];
  /** '' where there is none. */
  readonly fallback: string;
}

/** What `--help` of one command says. */
export interface CommandHelp {
  /** Without 'vmferry'; none for the program itself. */
  readonly path: readonly string[];
  /** The line as it is written, like 'vmferry migrate <vm>', and what the command is for. */
  readonly usage: string;
  readonly description: string;
  readonly sections: readonly { readonly title: string; readonly rows: readonly HelpRow[] }[];
  readonly epilogue: string;
}

/** The help of a command and of all below it, as yargs has them: whatever is made of it says what `--help` says. */
export async function commandHelp(path: readonly string[] = []): Promise<CommandHelp[]> {
  const help = parse(path, await helpText(path));
  const below: CommandHelp[] = [];
  for (const { name } of help.sections.find(({ title }) => title === 'Commands')?.rows ?? []) {
    const [, ...words] = name.split(' ').filter((word) => /^[a-z]/.test(word));
    below.push(...(await commandHelp(words)));
  }
  return [help, ...below];
}

function parse(path: readonly string[], text: string): CommandHelp {
  const [usage = '', ...lines] = text.split('\n');
  const sections: { title: string; rows: HelpRow[] }[] = [];
  const before: string[] = [];
  const after: string[] = [];
  for (const line of lines) {
    const title = /^(\S.*):$/.exec(line)?.[1];
    const row = /^ {2,}(\S.*?)(?: {2,}(\S.*))?$/.exec(line);
    if (title !== undefined) sections.push({ title, rows: [] });
    else if (row && sections.length > 0) sections.at(-1)!.rows.push(helpRow(row[1]!, row[2] ?? ''));
    else (sections.length === 0 ? before : after).push(line);
  }
  return { path, usage, description: before.join(' ').trim(), sections, epilogue: after.join(' ').trim() };
}

/** `said`: the description, then what yargs adds to it: '[string] [required] [choices: "a", "b"] [default: "a"]'. */
function helpRow(name: string, said: string): HelpRow {
  const [, text = said, added = ''] = /^(.*?) {2,}(\[.*\])$/.exec(said) ?? [];
  const tags = [...added.matchAll(/\[([^\]]*)\]/g)].map(([, tag]) => tag!);
  const after = (label: string) =>
    (tags.find((tag) => tag.startsWith(label)) ?? '').slice(label.length).replaceAll('"', '').trim();
  return {
    name,
    text,
    type: tags.find((tag) => /^[a-z]+$/.test(tag) && tag !== 'required') ?? '',
    required: tags.includes('required'),
    choices: after('choices:')
      .split(', ')
      .filter((choice) => choice !== ''),
    fallback: after('default:'),
  };
}
