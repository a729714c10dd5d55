import type { ArgumentsCamelCase, Argv } from 'yargs';
import { MigrationError } from '../../shared/errors.js';
import { parseBytes, parseDuration, parseRate } from '../../shared/units.js';
import type { GlobalOptions } from '../cli/session.js';
import { inUnits } from '../cli/units-option.js';
import { type BenchGuest, possible } from './bench-guest.js';
import type { MoveLimits } from './mover.js';
import type { Pair } from './test-bed.js';
import { parseWorkload, WORKLOAD_SYNTAX } from './workload.js';

const text = { type: 'string', requiresArg: true } as const;

/** Options that all benchmarks have. */
export function placeOptions(command: Argv<GlobalOptions>) {
  return command
    .option('lab', {
      type: 'boolean',
      describe: 'make two hosts on this machine: network namespaces with a link between them (as root)',
    })
    .option('agents', {
      ...text,
      describe: 'instead of starting agents: URL,URL of those that run on two hosts already',
    })
    .conflicts('lab', 'agents')
    .option('runs', { type: 'number', requiresArg: true, default: 5, describe: 'runs of each that count' })
    .option('out', { ...text, describe: 'write the JSON document to this file too' })
    .option('report', { ...text, describe: 'write an HTML report to this file' });
}

/** What a command with these options gets. */
export type ArgsOf<Options extends (command: Argv<GlobalOptions>) => Argv<unknown>> =
  ReturnType<Options> extends Argv<infer Args> ? ArgumentsCamelCase<Args> : never;

export type PlaceArgs = ArgsOf<typeof placeOptions>;

/** Options of how moves are made. */
export function measureOptions<Options extends GlobalOptions>(command: Argv<Options>, link: string) {
  return command
    .option('link', {
      ...text,
      default: link,
      describe: 'rates of the link, several with commas, like 1gbit; none: no limit; rates need --lab',
    })
    .option('accel', {
      ...text,
      default: 'auto',
      describe: 'how QEMU runs: kvm, tcg, or auto (the better one that works)',
    })
    .option('max-downtime', {
      ...text,
      default: '30ms',
      describe: 'downtime to aim for, the same for all that is compared',
    })
    .option('max-time', {
      ...text,
      default: '30s',
      describe: 'time of copying; after it, the switchover may take as long as it needs',
    });
}

/** The same with what is moved: `defaults` as on the command line. */
export function guestOptions<Options extends GlobalOptions>(
  command: Argv<Options>,
  defaults: { memory: string; populated: string; workload: string; link: string },
) {
  return measureOptions(command, defaults.link)
    .option('memory', { ...text, default: defaults.memory, describe: 'memory of the guest' })
    .option('populated', {
      ...text,
      default: defaults.populated,
      describe: 'how much of it is in use, about',
    })
    .option('workload', {
      ...text,
      default: defaults.workload,
      describe: `what the guest does, several with commas: ${WORKLOAD_SYNTAX}`,
    });
}

/** Options with which each benchmark names what it moves. */
export interface GuestArgs {
  readonly accel: string;
  readonly maxDowntime: string;
  readonly maxTime: string;
}

export function limitsOf({ maxDowntime, maxTime }: GuestArgs): MoveLimits {
  return {
    maxDowntimeMs: inUnits('max-downtime', maxDowntime, parseDuration),
    maxTimeMs: inUnits('max-time', maxTime, parseDuration),
  };
}

/** Rates of the link in bytes/s; null: none. Throws invalid-request. */
export function linksOf(list: string): (number | null)[] {
  return items('link', list).map((each) => (each === 'none' ? null : inUnits('link', each, parseRate)));
}

/** All of these kinds of guests with all of these workloads. Throws invalid-request. */
export function guestsOf(args: {
  guest: string;
  memory: string;
  populated: string;
  workload: string;
}): BenchGuest[] {
  const memoryBytes = inUnits('memory', args.memory, parseBytes);
  const populatedBytes = inUnits('populated', args.populated, parseBytes);
  const workloads = items('workload', args.workload).map(parseWorkload);
  return items('guest', args.guest).flatMap((kind) => {
    if (kind !== 'qemu' && kind !== 'embedded') {
      throw new MigrationError('invalid-request', `--guest: there is no kind '${kind}': qemu or embedded`);
    }
    return workloads.map((workload) => possible({ kind, memoryBytes, populatedBytes, workload }));
  });
}

/** Two URLs. Throws invalid-request. */
export function agentUrls(list: string): Pair<string> {
  const [first, second, ...more] = items('agents', list);
  if (first === undefined || second === undefined || more.length > 0) {
    throw new MigrationError('invalid-request', `--agents: '${list}' must be two URLs with a comma between`);
  }
  for (const url of [first, second]) {
    if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) continue;
    throw new MigrationError(
      'invalid-request',
      `--agents: '${url}' must be a URL like https://10.0.0.1:7800`,
    );
  }
  return [first, second];
}

/** Sizes in bytes. Throws invalid-request. */
export function sizesOf(option: string, list: string): number[] {
  return items(option, list).map((each) => inUnits(option, each, parseBytes));
}

/** Throws invalid-request unless it is a whole number above zero. */
export function countOf(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new MigrationError('invalid-request', `--${option}: it must be a whole number above zero`);
}

/** What an option lists with commas between, at least one. Throws invalid-request. */
export function items(option: string, list: string): string[] {
  const found = list
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
  if (found.length > 0) return found;
  throw new MigrationError('invalid-request', `--${option}: it names nothing; see --help`);
}
