import type { Argv } from 'yargs';
import { type ClusterNode, EXIT, type MigrationInfo, type StatusReport } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { formatBytes, formatDuration, formatRate, parseDuration, parseRate } from '../../shared/units.js';
import type { ExitCode } from './exit-code.js';
import { guestTable } from './guest-text.js';
import { checkedMigrationId, withMigrationId } from './migration-id.js';
import { givenMigrationOptions } from './migration-options.js';
import { doneText } from './migration-progress.js';
import type { GlobalOptions, Run, Session } from './session.js';
import { onlyWith } from './option-needs.js';
import { StatusLines } from './status-lines.js';
import { StatusScreen } from './status-screen.js';
import { ANSWER_TIMEOUT_MS, watchStatus } from './status-watch.js';
import { formatTable } from './table.js';
import { inUnits } from './units-option.js';

/** Between two looks of --watch. */
const DEFAULT_INTERVAL = '1s';

/** What goes on at a node and how to slow it down: `status`, `limit`. */
export function statusCommands(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs
    .command(
      'status',
      'show the node, its VMs and its migrations',
      (command) =>
        command
          .option('watch', {
            type: 'boolean',
            describe:
              'go on showing all nodes, and migrations with their rounds and a forecast; Ctrl-C ends it',
          })
          .option('local', { type: 'boolean', describe: 'with --watch: only the node that is asked' })
          .option('interval', {
            type: 'string',
            requiresArg: true,
            describe: 'with --watch: time between two looks',
            defaultDescription: DEFAULT_INTERVAL,
          })
          .example('$0 status', 'the agent of this host')
          .example(
            '$0 status --agent https://host-b:7800',
            'another agent; needs --ca and the like, or VMFERRY_CA',
          )
          .example('$0 status --watch', 'how fast migrations get on, and whether they will end')
          .example('$0 status --watch --interval 10s >> moves.log', 'a line for each change, for a file'),
      async (args) => {
        await run(args, async (session) => {
          const { client, output } = session;
          const { watch: watched = false, local, interval } = args;
          onlyWith('--interval', interval, '--watch', watched);
          onlyWith('--local', local, '--watch', watched);
          if (watched) {
            const intervalMs = inUnits('interval', interval ?? DEFAULT_INTERVAL, parseDuration);
            return await watch(session, intervalMs, local ?? false);
          }
          const report = await client.status();
          output.result(report, () => statusText(report));
          return EXIT.done;
        });
      },
    )
    .command(
      'limit <id>',
      'let a migration send faster or slower, also while it runs',
      (command) =>
        withMigrationId(command)
          .option('bandwidth', {
            type: 'string',
            demandOption: true,
            requiresArg: true,
            describe: 'send no faster than this, like 1gbit or 100MB; 0 for no limit',
          })
          .example('$0 limit m-1a2b3c4d5e6f --bandwidth 200mbit', 'leave more room on the link')
          .example('$0 limit m-1a2b3c4d5e6f --bandwidth 0', 'as fast as the link can'),
      async (args) => {
        await run({ ...args, subject: { migration: args.id } }, async ({ client, output }) => {
          const bandwidth = inUnits('bandwidth', args.bandwidth, parseRate);
          givenMigrationOptions({ bandwidth: args.bandwidth });
          const migration = await client.limitMigration(checkedMigrationId(args.id), bandwidth);
          const limit = bandwidth === 0 ? 'has no limit' : `is limited to ${formatRate(bandwidth)}`;
          output.result(migration, () => `migration ${migration.id} ${limit}`);
          return EXIT.done;
        });
      },
    );
}

/** Least time between two looks: an agent has other things to do. ms */
const MIN_INTERVAL_MS = 100;

async function watch(
  { client, output, terminal }: Session,
  intervalMs: number,
  local: boolean,
): Promise<ExitCode> {
  if (output.json) {
    throw new MigrationError('invalid-request', '--json prints one document: use it without --watch');
  }
  if (intervalMs < MIN_INTERVAL_MS) {
    throw new MigrationError('invalid-request', `--interval: ${MIN_INTERVAL_MS} ms is the least`);
  }
  const look = async (signal?: AbortSignal): Promise<readonly ClusterNode[]> => {
    if (!local) return (await client.cluster(false, signal)).nodes;
    const status = await client.status(signal);
    return [{ node: status.node.node, url: client.url, status, error: null }];
  };
  // One that can't be asked is said before the terminal is taken.
  const first = await look(AbortSignal.timeout(ANSWER_TIMEOUT_MS));
  const leaving = new AbortController();
  const stopListening = terminal.onInterrupt(() => leaving.abort());
  const { stdout } = terminal;
  const display =
    stdout.isTTY === true ? new StatusScreen(stdout) : new StatusLines((line) => output.progress(line));
  try {
    await watchStatus(first, { look, display, intervalMs, signal: leaving.signal });
    return EXIT.done;
  } finally {
    display.stop();
    stopListening();
  }
}

function statusText({ node, guests, migrations }: StatusReport): string {
  const memory = `${formatBytes(node.memoryUsedBytes)} of ${formatBytes(node.memoryLimitBytes)} for VMs in use`;
  const peers = node.peers.map(({ node: peer, url }) => `${peer} (${url})`).join(', ');
  return [
    `node ${node.node}, vmferry ${node.version}, ${memory}`,
    `peers: ${peers === '' ? 'none' : peers}`,
    '',
    guestTable(guests),
    '',
    migrations.length === 0 ? 'no migrations' : migrationTable(migrations),
  ].join('\n');
}

function migrationTable(migrations: readonly MigrationInfo[]): string {
  return formatTable(
    [
      { heading: 'migration' },
      { heading: 'vm' },
      { heading: 'from' },
      { heading: 'to' },
      { heading: 'phase' },
      { heading: 'asked for at' },
    ],
    migrations.map((migration) => [
      migration.id,
      migration.vm,
      migration.from,
      migration.to,
      phaseText(migration),
      migration.requestedAt,
    ]),
  );
}

function phaseText({ phase, progress, queue, result, role, from }: MigrationInfo): string {
  if (result !== null) {
    return result.outcome === 'completed'
      ? `completed in ${formatDuration(result.totalMs)}, downtime ${formatDuration(result.downtimeMs)}`
      : result.outcome;
  }
  if (phase === 'ended' && role === 'target') return `ended, as node ${from} knows`;
  if (phase === 'queued' && queue !== null) return `queued, place ${queue.position}`;
  if (progress === null) return phase;
  return `${phase}, round ${progress.round}: ${doneText(progress)}`;
}
