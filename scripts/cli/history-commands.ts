import type { Argv } from 'yargs';
import { EXIT, type HistoryEntry, type Outcome } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { formatBytes, formatDuration, parseDuration } from '../../shared/units.js';
import { drawMigration } from './migration-drawing.js';
import { checkedMigrationId, withMigrationId } from './migration-id.js';
import type { GlobalOptions, Run } from './session.js';
import { formatTable } from './table.js';

const OUTCOMES: readonly Outcome[] = ['completed', 'failed', 'cancelled', 'unknown'];

/** Entries shown if no --limit is given. */
const DEFAULT_LIMIT = 50;

/** Width of what is drawn where no terminal says one. */
const DEFAULT_WIDTH = 110;

/** What has been moved, and how one migration went: `history`, `show`. */
export function historyCommands(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs
    .command(
      'history',
      'list the migrations from this node that have ended',
      (command) =>
        command
          .option('vm', { type: 'string', requiresArg: true, describe: 'only those of this VM' })
          .option('outcome', {
            choices: OUTCOMES,
            requiresArg: true,
            describe: 'only those that ended in this way',
          })
          .option('since', {
            type: 'string',
            requiresArg: true,
            describe:
              'only those that ended in the last 12h, 7d or the like, or since a time like 2026-11-22T08:00Z',
          })
          .option('limit', {
            type: 'number',
            requiresArg: true,
            default: DEFAULT_LIMIT,
            describe: 'show at most so many, the latest; 0 shows all',
          })
          .example('$0 history --since 1d --outcome failed', 'what went wrong in the last day')
          .example('$0 history --vm web-1 --limit 0 --json', 'where a VM went, for scripts'),
      async (args) => {
        await run(args, async ({ client, output }) => {
          const { vm, outcome, limit } = args;
          if (!Number.isSafeInteger(limit) || limit < 0) {
            throw new MigrationError('invalid-request', `--limit: ${limit} is no count; 0 is for all`);
          }
          const since = args.since === undefined ? 0 : timeOf(args.since, Date.now());
          const found = (await client.history()).filter(
            (entry) =>
              (vm === undefined || entry.vm === vm) &&
              (outcome === undefined || entry.outcome === outcome) &&
              Date.parse(entry.endedAt) >= since,
          );
          const shown = limit === 0 ? found : found.slice(0, limit);
          const filtered = vm !== undefined || outcome !== undefined || args.since !== undefined;
          output.result(shown, () => historyTable(shown, filtered));
          const more = found.length - shown.length;
          if (more > 0) output.remark(`${more} more, earlier: see them with --limit`);
          return EXIT.done;
        });
      },
    )
    .command(
      'show <id>',
      'show how a migration goes, or went: its rounds and its switchover, drawn',
      (command) =>
        withMigrationId(command)
          .example('$0 show m-1a2b3c4d5e6f', 'migrate, status and history show ids')
          .example('$0 show m-1a2b3c4d5e6f --json', 'all that is kept of it'),
      async (args) => {
        await run({ ...args, subject: { migration: args.id } }, async ({ client, output, terminal }) => {
          const migration = await client.migration(checkedMigrationId(args.id));
          output.result(migration, () => drawMigration(migration, terminal.stdout.columns ?? DEFAULT_WIDTH));
          return EXIT.done;
        });
      },
    );
}

/** A time, or a duration before `now`, as Unix ms. Throws invalid-request. */
export function timeOf(text: string, now: number): number {
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : undefined;
  if (time !== undefined && !Number.isNaN(time)) return time;
  try {
    if (time === undefined) return now - parseDuration(text);
  } catch {
    // said below, with both ways to write it
  }
  throw new MigrationError(
    'invalid-request',
    `--since '${text}' is not understood: write it like 30min, 12h or 7d, or like 2026-11-22 or 2026-11-22T08:00Z`,
  );
}

function historyTable(entries: readonly HistoryEntry[], filtered: boolean): string {
  if (entries.length === 0) return `no ${filtered ? 'such ' : ''}migration from this node has ended`;
  const figures = true;
  return formatTable(
    [
      { heading: 'ended at' },
      { heading: 'migration' },
      { heading: 'vm' },
      { heading: 'from' },
      { heading: 'to' },
      { heading: 'outcome' },
      { heading: 'time', figures },
      { heading: 'queued', figures },
      { heading: 'downtime', figures },
      { heading: 'rounds', figures },
      { heading: 'sent', figures },
      { heading: 'error' },
    ],
    entries.map((entry) => [
      entry.endedAt,
      entry.id,
      entry.vm,
      entry.from,
      entry.to,
      entry.outcome,
      formatDuration(entry.totalMs),
      formatDuration(entry.queuedMs),
      entry.downtimeMs > 0 ? formatDuration(entry.downtimeMs) : '',
      String(entry.rounds),
      formatBytes(entry.wireBytes),
      entry.error?.code ?? '',
    ]),
  );
}
