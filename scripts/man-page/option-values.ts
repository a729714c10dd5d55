import type { HelpRow } from '../cli/command-help.js';

/** What the page calls the value of an option; that of one command, where others mean another thing by the name. */
const VALUES: Readonly<Record<string, string>> = {
  accel: 'kvm|tcg|auto',
  agent: 'URL',
  agents: 'URL,URL',
  'all-from': 'NODE',
  'at-once': 'N,...',
  bandwidth: 'RATE',
  ca: 'FILE',
  certificate: 'FILE',
  check: 'FILE',
  config: 'FILE',
  guest: 'KIND',
  guests: 'N,...',
  interval: 'TIME',
  iperf3: 'HOST[:PORT]',
  key: 'FILE',
  link: 'RATE,...',
  'simulate link': 'RATE',
  'max-downtime': 'TIME',
  'max-time': 'TIME',
  memory: 'SIZE',
  'bench link memory': 'KIND,...',
  'bench scale memory': 'SIZE,...',
  methods: 'METHOD,...',
  moves: 'MOVES',
  out: 'FILE',
  owner: 'NODE',
  plot: 'FILE',
  populated: 'SIZE',
  'bench scale populated': 'SIZE,...',
  qmp: 'SOCKET',
  report: 'FILE',
  since: 'TIME',
  size: 'SIZE',
  streams: 'N|auto',
  sweep: 'FRACTION,...',
  to: 'NODE',
  'token-file': 'FILE',
  vm: 'VM',
  workload: 'WORKLOAD,...',
  writes: 'WRITES',
};

/** '' for an option without one. Throws for one that nobody has named yet. */
export function optionValue(path: readonly string[], { name, type, choices }: HelpRow): string {
  if (type === 'boolean') return '';
  if (choices.length > 0) return choices.join('|');
  if (type === 'number') return 'N';
  const option = name.replace(/^--/, '');
  const value = VALUES[[...path, option].join(' ')] ?? VALUES[option];
  if (value === undefined) throw new Error(`the value of ${name} has no name here yet`);
  return value;
}
