/** Text and examples in the macros of man(7). */

/** What a page shows as it is typed: of these, roff would make quotes, hyphens, accents and requests. */
const TYPED: Readonly<Record<string, string>> = {
  '\\': '\\(rs',
  '-': '\\-',
  "'": '\\(aq',
  '"': '\\(dq',
  '^': '\\(ha',
  '~': '\\(ti',
};

/** Columns that an example has where the page has 80. */
const EXAMPLE_COLUMNS = 69;

/** Text of a line that is no request; what is in backticks is told without them. */
export function escaped(text: string): string {
  return text
    .replaceAll('`', '')
    .replace(/[\\'"^~-]/g, (character) => TYPED[character]!)
    .replace(/^\./gm, '\\&.');
}

/** A term, bold and then italic, with what it means. */
export function entry(bold: string, italic: string, text: string): string[] {
  const term = italic === '' ? `.B "${escaped(bold)}"` : `.BI "${escaped(bold)}" "${escaped(italic)}"`;
  return ['.TP', term, escaped(text)];
}

/** Lines as they are, which can be copied. */
export function lines(text: string): string[] {
  return ['.PP', '.RS 4', '.EX', ...escaped(text).split('\n'), '.EE', '.RE'];
}

/** A command that can be copied, with what it does below it. */
export function example(command: string, meaning: string): string[] {
  return [...lines(broken(command)), '.RS 8', escaped(meaning), '.RE'];
}

/** A command that is too long for a line, on several: what is copied is the same command. */
function broken(command: string): string {
  if (command.length <= EXAMPLE_COLUMNS) return command;
  const [first = '', ...options] = command.split(/ (?=--)/);
  const lines = [first];
  for (const option of options) {
    // The backslash that goes on with a line needs two more.
    if (`${lines.at(-1)} ${option}`.length <= EXAMPLE_COLUMNS - 2) lines.push(`${lines.pop()} ${option}`);
    else lines.push(`  ${option}`);
  }
  return lines.join(' \\\n');
}
