import type { Argv } from 'yargs';
import {
  type MigrationOptions,
  MigrationOptionsSchema,
  type MigrationRequest,
  OnLimitSchema,
  StartMigrationSchema,
} from '../../shared/api.js';
import { inUnit } from '../../shared/config-reference.js';
import { MigrationError } from '../../shared/errors.js';
import { VerifyModeSchema } from '../../shared/protocol/messages.js';
import { parseDuration, parseRate } from '../../shared/units.js';
import { parsedAs, reasonsOf } from '../../shared/validate.js';
import { inUnits } from './units-option.js';

/** What an agent takes for an option if neither the line nor its configuration says anything. */
const DEFAULTS = MigrationOptionsSchema.parse({});

/** How an option's default is told: which node's configuration counts only its agent knows. */
function fallback(name: keyof MigrationOptions, unit?: Parameters<typeof inUnit>[1]) {
  const value = DEFAULTS[name];
  const text = typeof value === 'number' ? inUnit(value, unit) : value;
  return { defaultDescription: `${text}, or as the agent is configured` };
}

/** Adds what can be said of how to migrate, to a command that asks for migrations. */
export function migrationOptions<Args>(command: Argv<Args>) {
  return command
    .option('max-downtime', {
      type: 'string',
      requiresArg: true,
      describe: 'aim for a switchover no longer than this, like 50ms; an estimate, no promise',
      ...fallback('maxDowntimeMs', 'ms'),
    })
    .option('bandwidth', {
      type: 'string',
      requiresArg: true,
      describe: 'send no faster than this, like 1gbit or 100MB; 64kbit or more, or 0 for no limit',
      ...fallback('bandwidthBytesPerSecond', 'bytes/s'),
    })
    .option('verify', {
      choices: VerifyModeSchema.options,
      requiresArg: true,
      describe:
        "compare the memory on both sides: 'after' the VM runs on the target, or 'strict': before, while it stands still",
      ...fallback('verify'),
    })
    .option('on-limit', {
      choices: OnLimitSchema.options,
      requiresArg: true,
      describe: 'what to do at one of these limits, where the downtime would be longer than asked for',
      ...fallback('onLimit'),
    })
    .option('max-rounds', {
      type: 'number',
      requiresArg: true,
      describe: 'rounds of copying after which --on-limit applies',
      ...fallback('maxRounds'),
    })
    .option('max-time', {
      type: 'string',
      requiresArg: true,
      describe: 'time of copying after which --on-limit applies, like 5min',
      ...fallback('maxTotalMs', 'ms'),
    })
    .option('stall-rounds', {
      type: 'number',
      requiresArg: true,
      describe: 'rounds without progress after which --on-limit applies',
      ...fallback('stallRounds'),
    })
    .option('streams', {
      type: 'string',
      requiresArg: true,
      describe: "number of connections for memory, or 'auto': as many as prove useful in the first round",
      ...fallback('streams'),
    })
    .option('priority', {
      type: 'number',
      requiresArg: true,
      describe: 'hours of head start in the queue, -10 to 10; below 0 it lets others pass',
      defaultDescription: '0',
    })
    .group(
      ['max-rounds', 'max-time', 'stall-rounds', 'on-limit'],
      'Guests that write faster than the link carries:',
    )
    .group(['bandwidth', 'streams'], 'The link:');
}

export interface MigrationArguments {
  maxDowntime?: string | undefined;
  bandwidth?: string | undefined;
  verify?: string | undefined;
  onLimit?: string | undefined;
  maxRounds?: number | undefined;
  maxTime?: string | undefined;
  stallRounds?: number | undefined;
  streams?: string | undefined;
  priority?: number | undefined;
}

/** The argument by which each field of a request is given. */
const ARGUMENTS: Readonly<Record<string, keyof MigrationArguments>> = {
  maxDowntimeMs: 'maxDowntime',
  bandwidthBytesPerSecond: 'bandwidth',
  maxTotalMs: 'maxTime',
  verify: 'verify',
  onLimit: 'onLimit',
  maxRounds: 'maxRounds',
  stallRounds: 'stallRounds',
  streams: 'streams',
  priority: 'priority',
};

/** What `args` say of how to migrate, checked; nothing stands in for what they do not say. Throws invalid-request, naming the options. */
export function givenMigrationOptions(
  args: MigrationArguments,
): Pick<MigrationRequest, 'options' | 'priority'> {
  const options = {
    ...given('maxDowntimeMs', inUnits('max-downtime', args.maxDowntime, parseDuration)),
    ...given('bandwidthBytesPerSecond', inUnits('bandwidth', args.bandwidth, parseRate)),
    ...given('verify', args.verify),
    ...given('onLimit', args.onLimit),
    ...given('maxRounds', args.maxRounds),
    ...given('maxTotalMs', inUnits('max-time', args.maxTime, parseDuration)),
    ...given('stallRounds', args.stallRounds),
    ...given('streams', streams(args.streams)),
  };
  const schema = StartMigrationSchema.pick({ options: true, priority: true });
  const parsed = parsedAs(schema, { options, ...given('priority', args.priority) });
  if (parsed.success) return parsed.data;
  const complaints = reasonsOf(parsed.error).map(({ path, message }) => {
    const argument = ARGUMENTS[String(path.at(-1))]!;
    const option = argument.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    // yargs leaves nothing of a text that is no number.
    const found = Number.isNaN(args[argument]) ? 'no number' : args[argument];
    return `--${option}: found ${found}; ${message}`;
  });
  throw new MigrationError('invalid-request', complaints.join('; '));
}

function given<Value>(name: string, value: Value | undefined): Record<string, Value> {
  return value === undefined ? {} : { [name]: value };
}

/** A number, or what validation is to see. */
function streams(text: string | undefined): string | number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}
