import type { Argv } from 'yargs';
import { EXIT, type MigrationRequest, StartMigrationSchema } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { validate } from '../../shared/validate.js';
import { followMigration } from '../../client/follow-migration.js';
import { type ExitCode, exitCodeOfPreflight, exitCodeOfRefusedStart, exitCodeOfResult } from './exit-code.js';
import { givenMigrationOptions, migrationOptions } from './migration-options.js';
import { ProgressBar, ProgressLines } from './migration-progress.js';
import { migrationSummary, preflightSummary } from './migration-summary.js';
import { onlyWith } from './option-needs.js';
import { evacuate } from './placement/evacuate.js';
import { eitherOr, onFailureOption } from './placement/move-session.js';
import type { GlobalOptions, Run, Session } from './session.js';

/** `vmferry migrate`: one migration, from the request to its end. */
export function migrateCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'migrate [vm]',
    'move a running VM, or all of a node, to another node',
    (command) =>
      migrationOptions(
        command
          .positional('vm', { type: 'string', describe: "the VM's name" })
          .option('all-from', {
            type: 'string',
            requiresArg: true,
            describe: 'instead of one VM: move all that are started on this node',
          })
          .option('to', {
            type: 'string',
            demandOption: true,
            requiresArg: true,
            describe: 'the node to move it to',
          })
          .option('queue', {
            type: 'boolean',
            default: true,
            describe:
              'wait while the nodes are busy with other migrations; with --no-queue, fail at once instead',
          })
          .option('dry-run', {
            type: 'boolean',
            describe: 'only check whether it could move; change nothing',
          })
          .option('on-failure', onFailureOption)
          .option('detach', { type: 'boolean', describe: 'start it, and do not wait for its end' })
          .conflicts('dry-run', 'detach'),
      )
        .example('$0 migrate web-1 --to b', 'move web-1 to node b and follow it')
        .example('$0 migrate web-1 --to b --dry-run', 'only check whether it could move')
        .example(
          '$0 migrate web-1 --to b --max-downtime 50ms --on-limit cancel',
          'aim for 50 ms; give up where the VM writes too fast for that',
        )
        .example(
          '$0 migrate db-1 --to b --priority 2',
          'ahead of what was asked for in the last two hours and waits',
        )
        .example('$0 migrate web-1 --to b --no-queue || echo later', 'now, or not at all')
        .example(
          '$0 migrate web-1 --to b --bandwidth 1gbit --verify after',
          'leave room on the link; compare the memory afterwards',
        )
        .example('$0 migrate web-1 --to b --detach --json', 'print its id, for status and cancel')
        .example('$0 migrate --all-from a --to b', 'all VMs that are started on node a'),
    async (args) => {
      await run({ ...args, subject: { vm: args.vm, to: args.to } }, async (session) => {
        const given = givenMigrationOptions(args);
        const { vm, allFrom: node, to, dryRun = false, detach = false, onFailure = 'stop' } = args;
        eitherOr(vm, node, 'migrate web-1 --to b', 'migrate --all-from a --to b');
        onlyWith('--on-failure', args.onFailure, '--all-from', node);
        if (node !== undefined) {
          if (!args.queue) {
            const text = '--no-queue is for one VM: those of --all-from wait for each other';
            throw new MigrationError('invalid-request', text);
          }
          if (node === to) {
            throw new MigrationError('invalid-request', `source and target are both ${to}: name two nodes`);
          }
          const command = `vmferry migrate --all-from ${node} --to ${to}`;
          return await evacuate(session, {
            ...{ to, dryRun, detach, onFailure, command, request: given },
            nodes: [node],
            drain: false,
          });
        }
        const request = validate(
          StartMigrationSchema,
          { vm, to, ...given, ...(!args.queue && { wait: false }) },
          'invalid-request',
          'the migration request',
        );
        if (dryRun) return await check(session, request);
        return await migrate(session, request, detach);
      });
    },
  );
}

async function check(session: Session, request: MigrationRequest): Promise<ExitCode> {
  const { client, output } = session;
  let report;
  try {
    report = await client.preflight(request);
  } catch (thrown) {
    const error = await session.explain(thrown);
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
    const error = await session.explain(thrown);
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
