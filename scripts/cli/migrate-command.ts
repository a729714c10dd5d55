import type { Argv } from 'yargs';
import { EXIT, type MigrationRequest, OnLimitSchema, StartMigrationSchema } from '../../shared/api.js';
import { toMigrationError } from '../../shared/errors.js';
import { VerifyModeSchema } from '../../shared/protocol/messages.js';
import { parseDuration, parseRate } from '../../shared/units.js';
import { validate } from '../../shared/validate.js';

import { type ExitCode, exitCodeOfPreflight, exitCodeOfRefusedStart, exitCodeOfResult } from './exit-code.js';
import { followMigration } from '../../client/follow-migration.js';
import { ProgressBar, ProgressLines } from './migration-progress.js';
import { migrationSummary, preflightSummary } from './migration-summary.js';
import type { GlobalOptions, Run, Session } from './session.js';
import { inUnits } from './units-option.js';

/** `vmferry migrate`: one migration, from the request to its end. */
export function migrateCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'migrate <vm>',
    'move a running VM to another node',
    (command) =>
      command
        .positional('vm', { type: 'string', demandOption: true, describe: 'its name' })
        .option('to', {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: 'the node to move it to',
        })
        .option('max-downtime', {
          type: 'string',
          requiresArg: true,
          describe: 'aim for a switchover no longer than this, like 30ms',
        })
        .option('bandwidth', {
          type: 'string',
          requiresArg: true,
          describe: 'send no faster than this, like 1gbit or 100MB; 64kbit or more',
        })
        .option('verify', {
          choices: VerifyModeSchema.options,
          requiresArg: true,
          describe: "compare the memory on both sides: 'after' it runs on the target, or 'strict', before",
        })
        .option('on-limit', {
          choices: OnLimitSchema.options,
          requiresArg: true,
          describe: 'what to do when the rounds reach a limit and the downtime would be longer',
        })
        .option('max-rounds', {
          type: 'number',
          requiresArg: true,
          describe: 'rounds before --on-limit applies',
        })
        .option('max-time', {
          type: 'string',
          requiresArg: true,
          describe: 'time of copying before --on-limit applies, like 10min',
        })
        .option('stall-rounds', {
          type: 'number',
          requiresArg: true,
          describe: 'rounds without progress before --on-limit applies',
        })
        .option('streams', {
          type: 'string',
          requiresArg: true,
          describe: "page streams, or 'auto': as many as the first round shows to pay",
        })
        .option('priority', {
          type: 'number',
          requiresArg: true,
          describe: 'hours of head start in the queue, -10 to 10; below 0 it stands back',
        })
        .option('queue', {
          type: 'boolean',
          default: true,
          describe: 'wait while the nodes have other migrations; --no-queue fails at once then',
        })
        .option('dry-run', { type: 'boolean', describe: 'only check whether it could move' })
        .option('detach', { type: 'boolean', describe: 'start it and do not wait for its end' })
        .group(
          ['max-rounds', 'max-time', 'stall-rounds', 'on-limit'],
          'Guests that write faster than the link carries:',
        )
        .group(['bandwidth', 'streams'], 'The link:')
        .conflicts('dry-run', 'detach')
        .example('$0 migrate web-1 --to b', 'move web-1 to node b and follow it')
        .example('$0 migrate web-1 --to b --dry-run', 'check it, change nothing')
        .example(
          '$0 migrate web-1 --to b --max-downtime 10ms --on-limit cancel',
          'move it within 10 ms, or not',
        )
        .example('$0 migrate db-1 --to b --priority 2', 'before what waits already')
        .example('$0 migrate web-1 --to b --no-queue || echo later', 'now or not at all')
        .example('$0 migrate web-1 --to b --bandwidth 1gbit --verify after', 'leave room on the link; verify')
        .example('$0 migrate web-1 --to b --detach --json', 'print the id; see status and cancel'),
    async (args) => {
      await run(args, async (session) => {
        const request = validate(
          StartMigrationSchema,
          {
            vm: args.vm,
            to: args.to,
            ...given('priority', args.priority),
            ...(!args.queue && { wait: false }),
            options: {
              ...given('maxDowntimeMs', inUnits('max-downtime', args.maxDowntime, parseDuration)),
              ...given('bandwidthBytesPerSecond', inUnits('bandwidth', args.bandwidth, parseRate)),
              ...given('verify', args.verify),
              ...given('onLimit', args.onLimit),
              ...given('maxRounds', args.maxRounds),
              ...given('maxTotalMs', inUnits('max-time', args.maxTime, parseDuration)),
              ...given('stallRounds', args.stallRounds),
              ...given('streams', streams(args.streams)),
            },
          },
          'invalid-request',
          'the migration request',
        );
        if (args.dryRun === true) return await check(session, request);
        return await migrate(session, request, args.detach === true);
      });
    },
  );
}

function given<Value>(name: string, value: Value | undefined): Record<string, Value> {
  return value === undefined ? {} : { [name]: value };
}

/** A number, or what validation is to see. */
function streams(text: string | undefined): string | number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

async function check({ client, output }: Session, request: MigrationRequest): Promise<ExitCode> {
  let report;
  try {
    report = await client.preflight(request);
  } catch (thrown) {
    const error = toMigrationError(thrown);
    output.failure(error);
    // nothing was to be started, so nothing is unknown
    return error.code === 'link-lost' ? EXIT.failed : exitCodeOfRefusedStart(error);
  }
  output.result(report, () => preflightSummary(report));
  return exitCodeOfPreflight(report);
}

async function migrate(session: Session, request: MigrationRequest, detach: boolean): Promise<ExitCode> {
  const { client, output } = session;
  let started;
  try {
    started = await client.startMigration(request);
  } catch (thrown) {
    const error = toMigrationError(thrown);
    output.failure(error);
    const exitCode = exitCodeOfRefusedStart(error);
    if (exitCode === EXIT.unknown) {
      output.remark(`the migration may have started: look with 'vmferry status --agent ${client.url}'`);
    }
    return exitCode;
  }
  if (detach) {
    output.result(
      started,
      () =>
        `migration ${started.id} of ${started.vm} from ${started.from} to ${started.to} goes on\n` +
        `see it with 'vmferry status', end it with 'vmferry cancel ${started.id}'`,
    );
    return EXIT.done;
  }
  return await follow(session, started.id);
}

/** Shows the migration until it ends. Ctrl-C cancels it; a second one leaves. */
async function follow({ client, output, terminal }: Session, id: string): Promise<ExitCode> {
  const { stdout } = terminal;
  const progress =
    stdout.isTTY === true && !output.json
      ? new ProgressBar(stdout)
      : new ProgressLines((line) => output.progress(line));
  const leaving = new AbortController();
  let interrupts = 0;
  const cancel = async (): Promise<void> => {
    try {
      await client.cancelMigration(id);
    } catch (thrown) {
      progress.stop();
      output.remark(toMigrationError(thrown).message);
    }
  };
  const stopListening = terminal.onInterrupt(() => {
    progress.stop();
    interrupts += 1;
    if (interrupts > 1) {
      leaving.abort();
      return;
    }
    output.remark(
      `cancelling migration ${id}; Ctrl-C again leaves without waiting. ` +
        `To let a migration go on by itself, start it with --detach`,
    );
    void cancel();
  });
  let result;
  try {
    result = await followMigration({
      client,
      id,
      onEvent: (event) => progress.show(event),
      signal: leaving.signal,
    });
  } finally {
    stopListening();
    progress.stop();
  }
  output.result(result, () => migrationSummary(result));
  if (result.error !== null) output.remark(result.error.message);
  return exitCodeOfResult(result);
}
