import type { StatusReport } from '../../shared/api.js';

/** What shells complete beside commands and options, which yargs knows: names that the agent knows, and files. */

/** What an argument names. The shell completes files by itself, where it is given nothing. */
type Kind = 'vm' | 'node' | 'nodes' | 'migration' | 'file';

/** The first argument of each command that has one. */
const ARGUMENTS: Readonly<Record<string, Kind>> = {
  migrate: 'vm',
  'vm undefine': 'vm',
  'vm start': 'vm',
  'vm stop': 'vm',
  'vm pause': 'vm',
  'vm resume': 'vm',
  'vm show': 'vm',
  'vm console': 'vm',
  'vm resolve': 'vm',
  'vm define': 'file',
  drain: 'nodes',
  undrain: 'nodes',
  evacuate: 'nodes',
  doctor: 'nodes',
  limit: 'migration',
  cancel: 'migration',
  show: 'migration',
  simulate: 'file',
};

const OPTIONS: Readonly<Record<string, Kind>> = {
  '--to': 'node',
  '--all-from': 'node',
  '--owner': 'node',
  '--vm': 'vm',
  '--config': 'file',
  '--out': 'file',
  '--plot': 'file',
  '--check': 'file',
  '--qmp': 'file',
  '--token-file': 'file',
  '--ca': 'file',
  '--certificate': 'file',
  '--key': 'file',
};

export interface CompletedLine {
  /** The word before the one to complete, and that one. */
  readonly before: string;
  readonly current: string;
  /** Those that are neither options nor values of options, the command itself first. */
  readonly positionals: readonly string[];
}

/** The names that the last word can become; null where yargs knows better. `report`: what the agent says of itself, if it answers. */
export function completedNames(
  { before, current, positionals }: CompletedLine,
  report: StatusReport | null,
): string[] | null {
  if (current.startsWith('-')) return null;
  const kind = OPTIONS[before] ?? argumentKind(positionals, current);
  if (kind === undefined) return null;
  return kind === 'file' || !report ? [] : namesOf(report, kind, current);
}

function argumentKind(positionals: readonly string[], current: string): Kind | undefined {
  if (positionals.at(-1) !== current) return undefined;
  return ARGUMENTS[positionals.slice(1, -1).join(' ')];
}

function namesOf({ node, guests, migrations }: StatusReport, kind: Kind, current: string): string[] {
  const nodes = [node.node, ...node.peers.map((peer) => peer.node)];
  if (kind === 'vm') return guests.map(({ name }) => name);
  if (kind === 'migration') return migrations.filter(({ role }) => role === 'source').map(({ id }) => id);
  if (kind === 'node') return nodes;
  // One after a comma is completed behind those before it.
  const before = current.slice(0, current.lastIndexOf(',') + 1);
  const named = new Set(before.split(','));
  return nodes.filter((each) => !named.has(each)).map((each) => `${before}${each}`);
}

/** How the scripts for shells ask: this, then the words of the line, the one to complete last. */
export const COMPLETION_OPTION = '--get-yargs-completions';

/** Words of a line as they were typed: bash takes the colons of a URL for words. */
export function withColons(words: readonly string[]): string[] {
  return words.join('\0').replaceAll('\0:\0', ':').split('\0');
}
