/** Text that is HTML already; all other text is escaped on its way into it. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Content = string | number | Html | readonly Html[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function insert(content: Content): string {
  if (content instanceof Html) return content.text;
  if (typeof content === 'object') return content.map(({ text }) => text).join('\n');
  return String(content).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);
}

/** Tag of template literals that are HTML: what they insert is escaped unless it is HTML, in attributes as well as between tags. */
export function html(strings: TemplateStringsArray, ...contents: readonly Content[]): Html {
  return new Html(String.raw({ raw: strings }, ...contents.map(insert)));
}
